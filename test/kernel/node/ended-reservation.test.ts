import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { SlaveRef } from '../../../contract/device-mount.ts';
import { SlaveGuard } from '../../../node-worker/guards/slave-guard.ts';
import type { ContainerHandle } from '../../../node-worker/kernel/engine.ts';
import { processStat } from '../../../node-worker/kernel/process.ts';
import { detach } from '../../../node-worker/steps/detach.ts';
import { unmountRequest } from '../../node-worker/memory-node.ts';
import { buildProgram } from '../c-program.ts';
import { cleanUp } from '../container.ts';
import { FUSE, policyOf, until } from '../devices.ts';
import { CGROUP_VERSIONS } from '../places.ts';
import { KernelNode } from './node.ts';

/** Misc device 10:237: an open of it does nothing. */
const LOOP = { type: 'c', major: 10, minor: 237 } as const;
const RESOURCE = 'hostdev.k8s.io/dev_loop-control';
const MOUNT = { namespace: 'default', name: 'm1' };

/**
 * A file system that answers the kernel's first request and takes every other without an answer, and a process that holds a
 * device and waits for one: the kernel does not end it, whatever signal it gets, before the file system is gone. It could end for as long as
 * nobody has read its request: /tmp/taken is there once somebody has.
 */
const UNENDING = `
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
int main(int count, char **words) {
  if (count > 1) {
    struct stat found;
    open(words[1], O_RDWR);
    stat("/tmp/slow/file", &found);
    return 0;
  }
  char options[128], request[FUSE_MIN_READ_BUFFER * 4];
  int fd = open("/tmp/fuse", O_RDWR);
  snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd);
  if (fd < 0 || mount("slow", "/tmp/slow", "fuse", 0, options)) return perror("mount"), 1;
  struct fuse_in_header *in = (void *)request;
  struct { struct fuse_out_header head; struct fuse_init_out init; } out = { { sizeof out, 0, 0 }, { 7, 31 } };
  if (read(fd, request, sizeof request) < 0) return perror("read"), 1;
  out.head.unique = in->unique;
  if (write(fd, &out, sizeof out) != sizeof out) return perror("write"), 1;
  for (puts("up"), fflush(stdout);; creat("/tmp/taken", 0600)) if (read(fd, request, sizeof request) < 0) return 1;
}`;

/** Holds a device and ends when it is asked to, at once: a shell would first wait for what it runs. */
const POLITE = `
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>
static void end(int signal) { creat("/tmp/asked", 0600); _exit(0); }
int main(int count, char **words) {
  signal(SIGTERM, end);
  open(words[1], O_RDWR);
  for (;;) pause();
}`;

beforeAll(cleanUp);
afterAll(cleanUp);

describe.each(CGROUP_VERSIONS)('when the reservation of a device ends, on cgroup v%i', (cgroupVersion) => {
  let node: KernelNode;
  let target: NonNullable<KernelNode['target']>;
  let slave: SlaveRef;
  let before: readonly string[];
  let handle: ContainerHandle;
  let guard: SlaveGuard;
  /** Processes that used the device when the owner was told. */
  let toldOf: number[];
  beforeEach(async () => {
    node = await KernelNode.make();
    target = node.target = await node.start({
      cgroupVersion,
      capabilities: ['CAP_SYS_ADMIN'],
      devices: [{ ...FUSE, path: '/tmp/fuse', access: 'rwm' }],
      prepare: (rootfs) => {
        buildProgram(UNENDING, join(rootfs, 'bin/unending'));
        buildProgram(POLITE, join(rootfs, 'bin/polite'));
      },
    });
    before = policyOf(target);
    slave = node.memory.addSlave('s1', ['loop'], 'm1', '/dev/loop-control', RESOURCE);
    await node.attach(slave, { resources: { [RESOURCE]: '1' } });
    handle = await node.deps.engine.openContainer({ containerId: target.id });
    toldOf = [];
    const tellOwner = async (): Promise<void> => void toldOf.push((await users()).length);
    guard = new SlaveGuard({ deps: node.deps, tellOwner, retryMs: 100 });
  });
  afterEach(async () => {
    await guard.stop();
    handle.close();
    await node.stop();
  });

  const users = () => node.deps.engine.usersOf(handle, [LOOP]);
  const untilUsed = (count: number) => until(users, (found) => found.length === count);
  const detachNow = (force: boolean, signed = unmountRequest({ force })) =>
    detach(node.deps, { mounts: [MOUNT], slaves: [slave], force, signed });
  async function endSlave(): Promise<void> {
    node.memory.endPod('s1');
    guard.slaveEnded(slave.uid, 'it is being deleted');
    await guard.idle();
  }

  test('the main process that has it open is ended before anybody is told that it is free', async () => {
    await target.run('sleep 1000 3<>/dev/loop-control & exec 4<>/dev/loop-control');
    await untilUsed(2);
    await endSlave();
    expect([toldOf, await users(), handle.isAlive()]).toEqual([[0], [], false]);
    expect(node.deps.store.records()).toEqual([]);
    expect(node.memory.events).toEqual([expect.stringMatching(/^Pod web-0 EndDeviceUsers: .*\(sh\).*main process/)]);
  });

  test('other processes are ended, and the container lives on as before', async () => {
    await target.run('sleep 1000 3<>/dev/loop-control &');
    await untilUsed(1);
    await endSlave();
    expect([toldOf, await users(), policyOf(target)]).toEqual([[0], [], before]);
    expect(await target.run('true </dev/loop-control; echo alive')).toContain('alive');
  });

  test('a process that uses a device of the same container by its own right is left alone', async () => {
    const own = node.memory.addSlave('s2', ['/dev/fuse::2'], 'm2');
    await node.attach(own, { name: 'm2' });
    await target.run('sleep 1000 3<>/tmp/fuse & exec 4<>/dev/fuse');
    const holders = () => node.deps.engine.usersOf(handle, [FUSE]);
    await until(holders, (found) => found.length === 2);
    const polite = { mounts: [{ namespace: 'default', name: 'm2' }], slaves: [own], force: false };
    expect(await detach(node.deps, polite)).toMatchObject({ mounts: [{ devices: [{ id: '/dev/fuse::2' }] }] });
    const again = node.memory.addSlave('s3', ['/dev/fuse::3'], 'm3');
    await node.attach(again, { name: 'm3' });
    guard.slaveEnded(again.uid, 'it is being deleted');
    await guard.idle();
    expect([toldOf, (await holders()).length, node.memory.events]).toEqual([[0], 2, []]);
    expect(await target.run('true </tmp/fuse && echo opened')).toBe('opened\n');
  });

  test('a process that the kernel does not end is reported until it has ended', async () => {
    await target.run('mkdir -p /tmp/slow; mkfifo /tmp/up; unending >/tmp/up & read said </tmp/up');
    await target.run('unending /dev/loop-control &');
    await until(() => target.run('test -e /tmp/taken && echo taken'), Boolean);
    const [user] = await untilUsed(1);
    await endSlave();
    expect(processStat(user?.pid ?? 0).state).toBe('D');
    await until(
      () => toldOf,
      (told) => told.length > 0,
    );
    expect([toldOf, policyOf(target)]).toEqual([[1], before]);
    expect(node.deps.store.get(MOUNT)).toMatchObject({ phase: 'revoked', leftToDo: 'endUsers' });
    expect(await node.deps.metrics.text()).toContain('device_mounter_node_devices_still_used 1');
    expect(node.memory.events).toEqual([
      expect.stringMatching(/^Pod web-0 DeviceStillUsed: .*\(unending\) uses c 10:237/),
      expect.stringMatching(/^Node n1 DeviceStillUsed: /),
    ]);
    await expect(detach(node.deps, { mounts: [MOUNT], slaves: [slave], force: true })).rejects.toMatchObject({
      type: 'Internal',
    });
    // With the file system goes what the process waits for.
    await target.run('kill -9 %1');
    await until(
      () => node.deps.store.records().length,
      (count) => count === 0,
    );
    expect(await users()).toEqual([]);
    expect(await node.deps.metrics.text()).toContain('device_mounter_node_devices_still_used 0');
  });

  test('by an unmount, its main process is spared without force, and ended with it', async () => {
    await target.run('exec 4<>/dev/loop-control');
    await expect(detachNow(false)).rejects.toMatchObject({
      type: 'DeviceBusy',
      message: expect.stringContaining('would end the container'),
    });
    expect(await target.run('echo again >&4 || true; echo alive')).toContain('alive');
    const { mounts } = await detachNow(true);
    expect(mounts[0]?.ended).toContain('is the main process of the container');
    expect([await users(), handle.isAlive()]).toEqual([[], false]);
  });

  test('by somebody who may not end processes, they are left until the slave ends', async () => {
    await target.run('polite /dev/loop-control &');
    await untilUsed(1);
    const step = () => detach(node.deps, { mounts: [MOUNT], slaves: [slave], force: true });
    expect(await step()).toMatchObject({ mounts: [{ inUse: true }] });
    expect([(await users()).length, policyOf(target)]).toEqual([1, before]);
    node.memory.endPod('s1');
    expect((await step()).mounts[0]?.inUse).toBeUndefined();
    expect([await users(), await target.run('ls /tmp/asked')]).toEqual([[], '/tmp/asked\n']);
  });
});
