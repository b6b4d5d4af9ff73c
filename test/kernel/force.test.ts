import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { ContainerHandle, DeviceUser, Grant } from '../../node-worker/kernel/engine.ts';
import { buildProgram } from './c-program.ts';
import { cleanUp, startContainer, type TestContainer } from './container.ts';
import { FUSE, until } from './devices.ts';
import { engine, KILL_LIMIT_MS } from './engine.ts';
import { CGROUP_VERSIONS } from './places.ts';

/** Holds the device in ways that are hard to see or to end. */
const HOLDER = `
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
static void hold(void) { open("/dev/fuse", O_RDWR); }
/* One more that has the device, for each signal to any of them. */
static void fork_more(int signal) { fork(); }
static void *in_thread(void *way) {
  if (!strcmp(way, "thread")) unshare(CLONE_FILES);
  hold();
  for (;;) pause();
}
int main(int count, char **words) {
  const char *way = words[1];
  pthread_t thread;
  if (fork()) return 0;
  setsid();
  if (!strcmp(way, "thread")) {
    pthread_create(&thread, 0, in_thread, (void *)way);
  } else if (!strcmp(way, "bomb-of-threads")) {
    hold();
    for (;; usleep(5000)) if (fork() > 0) pthread_create(&thread, 0, in_thread, (void *)"thread");
  } else if (!strcmp(way, "hydra")) {
    signal(SIGTERM, fork_more);
    signal(SIGHUP, fork_more);
    hold();
    for (int heads = 0; heads < 10; heads++) if (!fork()) break;
  } else if (!strcmp(way, "relay")) {
    /* Only the youngest lives, and it is another process every time. Its forefathers are reaped here. */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    signal(SIGCHLD, SIG_IGN);
    if (!fork()) for (hold();;) if (fork() > 0) _exit(0);
  } else if (!strcmp(way, "stopped")) {
    hold();
    raise(SIGSTOP);
  } else if (!strcmp(way, "traced-by-nobody")) {
    hold();
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, 0);
  } else if (!strcmp(way, "pid-namespace")) {
    unshare(CLONE_NEWPID);
    if (!fork()) hold();
  }
  for (;;) pause();
}`;

const LOOKS = 100;
let container: TestContainer;
let handle: ContainerHandle;
let plan: Grant;
beforeAll(cleanUp);
afterAll(cleanUp);

const users = (): Promise<readonly DeviceUser[]> => engine.usersOf(handle, [FUSE]);

describe.each(CGROUP_VERSIONS)('on cgroup v%i', (cgroupVersion) => {
  beforeEach(async () => {
    container = await startContainer({
      cgroupVersion,
      capabilities: ['CAP_SYS_ADMIN'],
      prepare: (rootfs) => buildProgram(HOLDER, join(rootfs, 'bin/holder')),
    });
    handle = await engine.openContainer({ containerId: container.id });
    plan = await engine.plan(handle, 'a', [FUSE], []);
    await engine.grant(handle, plan, []);
  });
  afterEach(async () => {
    handle.close();
    await container.stop();
  });

  test.each([
    ['in the descriptors of one thread only', 'thread', 1],
    ['in threads of many processes that fork', 'bomb-of-threads', 20],
    ['and forks with each signal that ends others', 'hydra', 11],
    ['and is another process at every moment', 'relay', 1],
    ['while it is stopped', 'stopped', 1],
    ['while it blocks all signals', 'traced-by-nobody', 1],
    ['in a pid namespace of its own', 'pid-namespace', 1],
  ])('a process that holds a device %s is ended, and the container lives on', async (_, way, least) => {
    await container.run(`holder ${way}`);
    await until(users, (found) => found.length >= least);
    await engine.revoke(handle, plan, []);
    await engine.killUsers(handle, [FUSE], { graceMs: 50, limitMs: KILL_LIMIT_MS });
    // Who forks all the time may be missed by one look.
    for (let look = 0; look < LOOKS; look++) expect(await users()).toEqual([]);
    expect(await container.run('echo alive; true </dev/fuse')).toMatch(/^alive\n.*(no such file|not permitted)/i);
  });
});
