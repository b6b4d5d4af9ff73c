// The only file of its image: opens the device given as argument again and again, and says so each time the answer changes,
// as "<milliseconds since 1970> opened" or "<milliseconds> <name of the error>".
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  // The first process of a pid namespace has no default actions.
  signal(SIGTERM, _exit);
  setvbuf(stdout, NULL, _IOLBF, 0);
  const struct timespec pause = {.tv_nsec = 2000000};
  for (int last = -1;; nanosleep(&pause, NULL)) {
    int fd = open(argv[1], O_RDWR | O_CLOEXEC);
    int now = fd < 0 ? errno : 0;
    if (fd >= 0) close(fd);
    if (now == last) continue;
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    printf("%lld %s\n", at.tv_sec * 1000LL + at.tv_nsec / 1000000, now == 0 ? "opened" : strerrorname_np(now));
    last = now;
  }
}
