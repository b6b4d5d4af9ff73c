import { build } from './c-program.ts';

/**
 * Stands for HAMi-core 1.2: maps the file in which all programs of a container count as it does (src/multiprocess/multiprocess_memory_limit.c and .h,
 * `try_create_shrreg`, `lock_shrreg`, `init_device_info`, with the layout of `shared_region_t`), and says which limits it sees. What
 * NVML would tell, the GPUs in their order, stands in /gpus, or is what the container was started with.
 */
const HAMI_CORE = `
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>
#define MAGIC 19920718
struct slot {
  int32_t pid, hostpid;
  struct { uint64_t context, module, data, offset, total, unused[3]; } used[16];
  uint64_t monitorused[16];
  struct { uint64_t dec, enc, sm, unused[3]; } util[16];
  int32_t status;
  uint64_t seqlock, unused[2];
};
struct region {
  int32_t flag;
  uint32_t major, minor;
  int32_t sm_init;
  size_t owner;
  sem_t sem;
  uint64_t device_num;
  char uuids[16][96];
  uint64_t limit[16], sm_limit[16];
  struct slot slots[1024];
  int32_t proc_num, utilization_switch, recent_kernel, priority;
  uint64_t last_kernel_time;
  sem_t sem_postinit;
};
_Static_assert(sizeof(struct region) == 2008952, "shared_region_t");
static struct region *region;
static struct slot *slot;

static uint64_t from_environment(const char *name, int index, uint64_t otherwise) {
  char own[64];
  snprintf(own, sizeof own, "%s_%d", name, index);
  const char *value = getenv(own) ? getenv(own) : getenv(name);
  if (!value || !*value) return otherwise;
  uint64_t limit = strtoull(value, 0, 10) << (value[strlen(value) - 1] == 'm' ? 20 : 0);
  return limit ? limit : otherwise;
}

static void map(void) {
  const char *path = getenv("CUDA_DEVICE_MEMORY_SHARED_CACHE");
  if (!path) path = "/tmp/cudevshr.cache";
  int fd = open(path, O_RDWR | O_CREAT, 0666);
  if (fd < 0 || lseek(fd, sizeof *region, SEEK_SET) < 0 || write(fd, "", 1) != 1 || lseek(fd, 0, SEEK_SET)) {
    printf("no region: %s\\n", path);
    _exit(1);
  }
  region = mmap(0, sizeof *region, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (region == MAP_FAILED || lockf(fd, F_LOCK, sizeof *region)) _exit(2);
  if (region->flag != MAGIC) {
    region->major = 1;
    region->minor = 2;
    for (int i = 0; i < 16; i++) {
      region->limit[i] = from_environment("CUDA_DEVICE_MEMORY_LIMIT", i, 0);
      region->sm_limit[i] = from_environment("CUDA_DEVICE_SM_LIMIT", i, 100);
    }
    sem_init(&region->sem, 1, 1);
    sem_init(&region->sem_postinit, 1, 1);
    region->utilization_switch = region->priority = 1;
    region->recent_kernel = 2;
    region->proc_num = 0;
    region->flag = MAGIC;
  } else if (region->major != 1 || region->minor != 2) {
    printf("The current version number 1.2 is different from the file's version number %d.%d\\n", region->major, region->minor);
  }
  if (lockf(fd, F_ULOCK, sizeof *region)) _exit(3);
}

static void take_slot(void) {
  if (sem_trywait(&region->sem)) { printf("the semaphore is taken\\n"); return; }
  for (int i = 0; i < region->proc_num;) {
    int pid = region->slots[i].pid;
    if (pid && !kill(pid, 0)) i++;
    else region->slots[i] = region->slots[--region->proc_num];
  }
  slot = &region->slots[region->proc_num++];
  slot->pid = getpid();
  sem_post(&region->sem);
  if (sem_trywait(&region->sem_postinit)) printf("the second semaphore is taken\\n");
  else sem_post(&region->sem_postinit);
}

static void read_gpus(void) {
  char text[1024] = {0};
  const char *own = getenv("NVIDIA_VISIBLE_DEVICES");
  int fd = open("/gpus", O_RDONLY), count = 0;
  if (fd >= 0) {
    if (read(fd, text, sizeof text - 1) < 0) return;
    close(fd);
  } else if (own && !strncmp(own, "GPU-", 4)) {
    strncpy(text, own, sizeof text - 1);
  } else return;
  for (char *word = strtok(text, "\\n,"); word; word = strtok(0, "\\n,")) strcpy(region->uuids[count++], word);
  region->device_num = count;
}

static void lock_node(void) {
  int fd = open("/tmp/vgpulock/lock", O_CREAT | O_RDWR, 0666);
  if (fd >= 0 && !flock(fd, LOCK_EX)) close(fd);
}

static void read_override(void) {
  char text[1024] = {0};
  int fd = open("/overrideEnv", O_RDONLY);
  if (fd < 0 || read(fd, text, sizeof text - 1) < 0) return;
  for (char *line = strtok(text, "\\n"); line && strchr(line, '='); line = strtok(0, "\\n")) putenv(strdup(line));
  close(fd);
}

static void say(void) {
  const char *policy = getenv("GPU_CORE_UTILIZATION_POLICY");
  for (int i = 0; i < (int)region->device_num; i++)
    printf("%s %lu MiB %lu %%\\n", region->uuids[i] + 38, region->limit[i] >> 20, region->sm_limit[i]);
  if (policy) printf("policy %s\\n", policy);
}

static void begin(void) {
  map();
  lock_node();
  take_slot();
  read_override();
  read_gpus();
  say();
}
`;

/** As a library that each program loads first. */
const PRELOADED = `${HAMI_CORE}
__attribute__((constructor)) static void first(void) { begin(); fflush(stdout); }
__attribute__((destructor)) static void last(void) { slot->pid = 0; }`;

/**
 * \`hami\`: says what it sees. \`hami watch\`: does so again each time that a limit of the first GPU changes. \`hami lock\`: holds the lock of the file.
 * These two go on until they are killed or their container ends.
 */
const PROGRAM = `${HAMI_CORE}
int main(int count, char **words) {
  setvbuf(stdout, 0, _IOLBF, 0);
  const char *what = count > 1 ? words[1] : "";
  begin();
  if (!strcmp(what, "lock")) {
    int fd = open(getenv("CUDA_DEVICE_MEMORY_SHARED_CACHE"), O_RDWR);
    if (lockf(fd, F_LOCK, sizeof *region)) return 1;
    puts("locked");
    pause();
  }
  if (!strcmp(what, "watch")) {
    volatile struct region *now = region;
    for (uint64_t memory = now->limit[0], cores = now->sm_limit[0];; usleep(1000))
      if (now->limit[0] != memory || now->sm_limit[0] != cores) { memory = now->limit[0]; cores = now->sm_limit[0]; say(); }
  }
  slot->pid = 0;
}`;

/** Stands for HAMi-core before 1.1: each program that begins says its limits, and makes the file that it counts in and the lock of the node. */
const OLD_HAMI_CORE = `
extern int open(const char *, int, ...);
extern long read(int, void *, unsigned long), write(int, const void *, unsigned long);
__attribute__((constructor)) static void begin(void) {
  char limits[512];
  int fd = open("/overrideEnv", 0);
  long length = fd < 0 ? 0 : read(fd, limits, sizeof limits);
  if (length > 0) write(1, limits, length);
  open("/tmp/vgpu/region.cache", 0102, 0666);
  open("/tmp/vgpulock/lock", 0102, 0666);
}`;

const HAMI_OPTIONS = ['-O1', '-pthread'];
export const buildHamiCore = (output: string): void =>
  build(['gcc', '-shared', '-fPIC', ...HAMI_OPTIONS], PRELOADED, output);
export const buildOldHamiCore = (output: string): void =>
  build(['gcc', '-shared', '-fPIC', '-nostdlib'], OLD_HAMI_CORE, output);
export const buildHami = (output: string): void => build(['gcc', '-static', ...HAMI_OPTIONS], PROGRAM, output);
