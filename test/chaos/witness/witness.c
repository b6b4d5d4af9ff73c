// The only file of its image. Tries the exclusive device all the time and writes down when the kernel let it, in a way that outlives whatever
// is killed: one record in a mapped file for each stretch of equal answers, brought up to date at every try.
//   witness FOLDER open   opens the device and closes it again
//   witness FOLDER hold   also has a process that keeps it open as soon as it can, until it is killed
//   witness FOLDER init   keeps it open by itself, as the container's main process, and does not heed SIGTERM
//   witness FOLDER idle   does nothing
// Times are nanoseconds of CLOCK_MONOTONIC, which all containers of a machine share.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// Read by runs.ts: 64 bytes, little endian.
struct run {
  // Before and after the first try of this stretch, and the last.
  int64_t first_before, first_after, last_before, last_after;
  uint64_t tries;
  // 0, or the error of open(2).
  int32_t answer;
  // 1 once all of it is written.
  _Atomic int32_t used;
  char padding[16];
};

// A process whose file is full ends; the next one has a new file.
enum { RUNS = 256 };
static const struct timespec PAUSE = {.tv_nsec = 4000000};
static const char *device;
// Index of the stretch that goes on; none of a new file.
static int at;

static int64_t now(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static struct run *map_runs(const char *folder, const char *kind) {
  char path[256];
  snprintf(path, sizeof path, "%s/%lld.%s", folder, (long long)now(), kind);
  int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0 || ftruncate(fd, sizeof(struct run) * RUNS) != 0) _exit(3);
  struct run *runs = mmap(NULL, sizeof(struct run) * RUNS, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (runs == MAP_FAILED) _exit(4);
  at = -1;
  return runs;
}

static void note(struct run *runs, int32_t answer, int64_t before, int64_t after) {
  if (at < 0 || runs[at].answer != answer) {
    if (++at == RUNS) _exit(5);
    runs[at].first_before = before;
    runs[at].first_after = after;
    runs[at].answer = answer;
  }
  runs[at].last_before = before;
  runs[at].last_after = after;
  runs[at].tries++;
  atomic_store(&runs[at].used, 1);
}

static void try_for_ever(const char *folder) {
  struct run *runs = map_runs(folder, "open");
  for (;; nanosleep(&PAUSE, NULL)) {
    int64_t before = now();
    int fd = open(device, O_RDWR | O_CLOEXEC);
    int32_t answer = fd < 0 ? errno : 0;
    int64_t after = now();
    if (fd >= 0) close(fd);
    note(runs, answer, before, after);
  }
}

static pid_t begin(void (*body)(const char *), const char *folder) {
  pid_t pid = fork();
  if (pid != 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGTERM, SIG_DFL);
  body(folder);
  _exit(0);
}

static pid_t opener, holder;
static void hold_for_ever(const char *folder);

// Whoever takes the device away ends them; their end is the end of their record.
static void begin_again(pid_t ended, const char *folder) {
  if (ended <= 0) return;
  if (ended == opener) opener = begin(try_for_ever, folder);
  if (ended == holder) holder = begin(hold_for_ever, folder);
}

static void hold_for_ever(const char *folder) {
  int64_t before = now();
  while (open(device, O_RDWR | O_CLOEXEC) < 0) {
    begin_again(waitpid(-1, NULL, WNOHANG), folder);
    nanosleep(&PAUSE, NULL);
    before = now();
  }
  struct run *runs = map_runs(folder, "hold");
  for (;; nanosleep(&PAUSE, NULL), before = now()) {
    note(runs, 0, before, now());
    begin_again(waitpid(-1, NULL, WNOHANG), folder);
  }
}

static void leave(int signal) {
  (void)signal;
  _exit(0);
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  const char *folder = argv[1], *mode = argv[2];
  // The first process of a pid namespace has no default actions.
  if (strcmp(mode, "init") != 0) signal(SIGTERM, leave);
  if (strcmp(mode, "idle") == 0)
    for (;;) pause();
  // A node of our own: the rule alone decides. In a user namespace nobody can make one.
  device = mknod("/own", S_IFCHR | 0600, makedev(10, 229)) == 0 || errno == EEXIST ? "/own" : "/dev/fuse";
  opener = begin(try_for_ever, folder);
  if (strcmp(mode, "init") == 0) hold_for_ever(folder);
  if (strcmp(mode, "hold") == 0) holder = begin(hold_for_ever, folder);
  for (;;) {
    pid_t ended = wait(NULL);
    nanosleep(&PAUSE, NULL);
    begin_again(ended, folder);
  }
}
