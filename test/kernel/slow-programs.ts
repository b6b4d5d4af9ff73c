/**
 * Programs of a tenant that make slow, or endless, what others read of its container. Each prints one word when it is so, and
 * ends after five minutes: long after a busy machine has looked, and so that what a failing test leaves does not stop for ever who reads
 * /proc.
 */

/** What a FUSE file system needs to be mounted and to have one file, named `file`; what else it is asked it never answers. */
const FUSE_SERVER = `
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
static int server;
static void answer(struct fuse_in_header *request, void *data, int length) {
  char bytes[256] = {0};
  struct fuse_out_header *header = (void *)bytes;
  header->unique = request->unique;
  header->len = sizeof *header + length;
  memcpy(bytes + sizeof *header, data, length);
  if (write(server, bytes, header->len) < 0) perror("write");
}
static void attributes(struct fuse_attr *attr, int node) {
  attr->ino = node;
  attr->nlink = 1;
  attr->mode = node == 1 ? S_IFDIR | 0755 : S_IFREG | 0644;
}
/** Answers until it is asked for \`last\`. */
static void serve(int last) {
  static char bytes[1 << 20];
  for (;;) {
    struct fuse_in_header *request = (void *)bytes;
    if (read(server, bytes, sizeof bytes) < 0) { if (errno == ENODEV) _exit(0); continue; }
    struct fuse_init_out init = {.major = 7, .minor = 31, .max_write = 4096};
    struct fuse_entry_out entry = {.nodeid = 2};
    struct fuse_attr_out attr = {.attr_valid = 1};
    struct fuse_open_out open = {0};
    attributes(&entry.attr, 2);
    attributes(&attr.attr, request->nodeid);
    if (request->opcode == FUSE_INIT) answer(request, &init, sizeof init);
    else if (request->opcode == FUSE_LOOKUP) answer(request, &entry, sizeof entry);
    else if (request->opcode == FUSE_GETATTR) answer(request, &attr, sizeof attr);
    else if (request->opcode == FUSE_OPEN) answer(request, &open, sizeof open);
    if (request->opcode == last) return;
  }
}
static void mount_on(const char *path) {
  char options[128];
  server = open("/tmp/fuse", O_RDWR | O_CLOEXEC);
  snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", server);
  if (server < 0 || mount("slow", path, "fuse", 0, options)) { perror("mount"); _exit(1); }
}`;

/**
 * Mounts a file system on a path, whose root is of the mode it is told, and never answers a request of the kernel's. Then it
 * holds the root open (O_PATH asks nothing) and says "up".
 */
export const NEVER_ANSWERS = `
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>
int main(int count, char **words) {
  char options[128];
  int fd = open("/tmp/fuse", O_RDWR);
  if (fd < 0) fd = open("/dev/fuse", O_RDWR);
  snprintf(options, sizeof options, "fd=%d,rootmode=%s,user_id=0,group_id=0,allow_other", fd, words[2]);
  if (fd < 0 || mount("slow", words[1], "fuse", 0, options)) return perror("mount"), 1;
  alarm(300);
  int held = open(words[1], O_PATH);
  puts(held < 0 ? "not up" : "up");
  fflush(stdout);
  pause();
}`;

/** \`slow-exec DIRECTORY\`: a child execs, and the kernel waits for the closing of its file while /proc/PID/maps is locked. */
export const SLOW_EXEC = `${FUSE_SERVER}
int main(int count, char **words) {
  char path[128];
  mount_on(words[1]);
  alarm(300);
  if (!fork()) {
    snprintf(path, sizeof path, "%s/file", words[1]);
    if (open(path, O_RDONLY | O_CLOEXEC) < 0) { perror("open"); _exit(1); }
    execl("/bin/busybox", "sleep", "60", (char *)0);
  }
  serve(FUSE_FLUSH);
  puts("slow");
  fflush(stdout);
  pause();
}`;

/** \`locked-directory PATH\`: a thread lists it into memory that another one never provides, and the kernel keeps it locked. */
export const LOCKED_DIRECTORY = `
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
static char *page;
static void *list(void *path) {
  return (void *)syscall(SYS_getdents64, open(path, O_RDONLY | O_DIRECTORY), page, 4096);
}
int main(int count, char **words) {
  struct uffd_msg event;
  struct uffdio_api api = {.api = UFFD_API};
  int faults = syscall(SYS_userfaultfd, O_CLOEXEC);
  page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct uffdio_register range = {.range = {(unsigned long)page, 4096}, .mode = UFFDIO_REGISTER_MODE_MISSING};
  if (faults < 0 || ioctl(faults, UFFDIO_API, &api) || ioctl(faults, UFFDIO_REGISTER, &range)) return perror("userfaultfd"), 1;
  alarm(300);
  pthread_t thread;
  pthread_create(&thread, 0, list, words[1]);
  if (read(faults, &event, sizeof event) > 0) puts("slow");
  fflush(stdout);
  pause();
}`;

/**
 * \`crowd threads|descriptors|mappings|mounts\`: threads that each have descriptors of their own; very many descriptors; 60,000
 * mapped files; 2,000 mounts.
 */
export const CROWD = `
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
static pthread_barrier_t all;
static int many(int count) {
  int made = 0, fd = open("/dev/null", O_RDONLY);
  while (made < count && dup(fd) >= 0) made++;
  return made;
}
static void *alone(void *unused) {
  unshare(CLONE_FILES);
  many(1000);
  pthread_barrier_wait(&all);
  pause();
  return 0;
}
int main(int count, char **words) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  if (!strcmp(words[1], "threads")) {
    pthread_barrier_init(&all, 0, 151);
    for (int i = 0; i < 150; i++) { pthread_t thread; if (pthread_create(&thread, 0, alone, 0)) return 1; }
    pthread_barrier_wait(&all);
  }
  if (!strcmp(words[1], "descriptors") && many(200000) < 1000) return 1;
  if (!strcmp(words[1], "mappings")) {
    int fd = open("/bin/busybox", O_RDONLY);
    for (int i = 0; i < 60000; i++) if (mmap(0, 4096, PROT_READ, MAP_PRIVATE, fd, 4096L * (i % 7)) == MAP_FAILED) return 1;
  }
  if (!strcmp(words[1], "mounts")) {
    mkdir("/tmp/many", 0755);
    for (int i = 0; i < 2000; i++) if (mount("/tmp/many", "/tmp/many", 0, MS_BIND, 0)) return 1;
  }
  puts("slow");
  fflush(stdout);
  alarm(300);
  pause();
}`;
