import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { ContainerHandle, DeviceUser } from '../../../node-worker/kernel/engine.ts';
import { type Freezer, whileFrozen } from '../../../node-worker/kernel/freeze.ts';
import { buildProgram } from '../c-program.ts';
import { cleanUp, startContainer, type TestContainer } from '../container.ts';
import { FUSE, until } from '../devices.ts';
import { engine, KILL_LIMIT_MS } from '../engine.ts';
import { CGROUP_VERSIONS } from '../places.ts';

/** Maps the file it is told to, closes it and waits. */
const MAP_DEVICE = `
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
int main(int count, char **words) {
  int fd = open(words[1], O_RDONLY);
  if (fd < 0 || mmap(0, 4096, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED) return 1;
  close(fd);
  pause();
}`;

/** Each of its processes forks the next one and ends, over and over; TERM does not end them. Holds descriptor 3. */
const RABBITS = `
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) {
  signal(SIGTERM, SIG_IGN);
  signal(SIGCHLD, SIG_IGN);
  for (int count = 0; count < 8; count++) {
    if (fork() != 0) continue;
    // The first process has them all as children, so that none of them stays a zombie.
    for (;;) if (syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0) > 0) _exit(0);
  }
  for (;;) pause();
}`;

function addPrograms(rootfs: string): void {
  buildProgram(MAP_DEVICE, `${rootfs}/bin/map-device`);
  buildProgram(RABBITS, `${rootfs}/bin/rabbits`);
}

const freezerOf = (handle: ContainerHandle): Freezer => (handle as ContainerHandle & { freezer: Freezer }).freezer;
const stateOf = ({ version, path }: Freezer): string =>
  readFileSync(`${path}/${version === 1 ? 'freezer.state' : 'cgroup.events'}`, 'latin1');

beforeAll(cleanUp);
afterAll(cleanUp);

describe.each(CGROUP_VERSIONS)('users of a device on cgroup v%i', (cgroupVersion) => {
  let container: TestContainer;
  let handle: ContainerHandle;
  beforeEach(async () => {
    container = await startContainer({ cgroupVersion, prepare: addPrograms });
    handle = await engine.openContainer({ containerId: container.id, pid: container.pid });
    await engine.grant(handle, await engine.plan(handle, 'a', [FUSE], []), []);
  });
  afterEach(async () => {
    handle.close();
    await container.stop();
  });
  const users = (): Promise<readonly DeviceUser[]> => engine.usersOf(handle, [FUSE]);
  const untilUsed = (count: number): Promise<readonly DeviceUser[]> => until(users, (found) => found.length === count);

  test('are found by what they hold, also after the node is gone', async () => {
    expect(await users()).toEqual([]);
    await container.run('sleep 1000 3<>/dev/fuse &');
    await untilUsed(1);
    await container.run('rm /dev/fuse');
    expect(await untilUsed(1)).toMatchObject([
      // A shell of busybox runs its own programs as /proc/self/exe, which name themselves a little later.
      { command: expect.stringMatching(/^(sleep|exe)$/), via: 'fd', device: 'c 10:229', containerInit: false },
    ]);
  });

  test('end on TERM, and on KILL when they ignore it', async () => {
    await container.run(
      'sleep 1000 3<>/dev/fuse & sh -c "trap : TERM; while :; do sleep 1000 3<&-; done" 3<>/dev/fuse &',
    );
    await untilUsed(2);
    const killed = await engine.killUsers(handle, [FUSE], { graceMs: 200, limitMs: KILL_LIMIT_MS });
    // The shell's next child holds the device too, until it has closed it.
    expect(killed.length).toBeGreaterThanOrEqual(2);
    expect(await users()).toEqual([]);
    expect(await container.run('echo alive')).toBe('alive\n');
  });

  test('are ended with the container when its init is one of them', async () => {
    await container.run('sleep 1000 3<>/dev/fuse & exec 4<>/dev/fuse');
    expect((await untilUsed(2)).filter(({ containerInit }) => containerInit)).toHaveLength(1);
    expect(await engine.killUsers(handle, [FUSE], { graceMs: 50, limitMs: KILL_LIMIT_MS })).toHaveLength(2);
    expect(await users()).toEqual([]);
    expect(handle.isAlive()).toBe(false);
  });

  test('are all ended although they fork faster than they are found', async () => {
    const plan = await engine.plan(handle, 'a', [FUSE], []);
    await container.run('/bin/rabbits 3<>/dev/fuse &');
    await until(users, (found) => found.length > 4);
    await engine.revoke(handle, plan, []);
    await engine.killUsers(handle, [FUSE], { graceMs: 50, limitMs: KILL_LIMIT_MS });
    expect(await users()).toEqual([]);
    expect(handle.isAlive()).toBe(true);
  });

  test('are found by a mapping alone, and ended', async () => {
    const zero = { ...FUSE, path: '/dev/zero', major: 1, minor: 5 };
    await container.run('/bin/map-device /dev/zero &');
    const [user] = await until(
      () => engine.usersOf(handle, [zero]),
      (found) => found.length === 1 && found[0]?.via === 'map',
    );
    expect(user).toMatchObject({ command: 'map-device', device: 'c 1:5', containerInit: false });
    await engine.killUsers(handle, [zero], { graceMs: 1000, limitMs: KILL_LIMIT_MS });
    expect(await engine.usersOf(handle, [zero])).toEqual([]);
  });

  test('stay frozen while they are looked at, whoever opens the container meanwhile', async () => {
    const state = await whileFrozen({ freezer: freezerOf(handle) }, async () => {
      (await engine.openContainer({ containerId: container.id })).close();
      return stateOf(freezerOf(handle));
    });
    expect(state).toMatch(/FROZEN|frozen 1/);
    expect(await container.run('echo alive')).toBe('alive\n');
  });

  test('go on when a worker was killed while it had them frozen', async () => {
    const freezer = freezerOf(handle);
    const module = new URL('../../../node-worker/kernel/freeze.ts', import.meta.url).href;
    const script = `const { whileFrozen } = await import('${module}');
      await whileFrozen({ freezer: ${JSON.stringify(freezer)} }, () => process.kill(process.pid, 'SIGKILL'));`;
    const killed = spawnSync(process.execPath, ['--no-warnings', '--input-type=module', '-e', script], {
      encoding: 'utf8',
    });
    expect(killed).toMatchObject({ signal: 'SIGKILL', stderr: '' });
    await until(
      () => stateOf(freezer),
      (text) => /FROZEN|frozen 1/.test(text),
    );
    (await engine.openContainer({ containerId: container.id })).close();
    expect(await container.run('echo alive')).toBe('alive\n');
  });
});
