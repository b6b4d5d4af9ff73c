import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { ContainerHandle } from '../../node-worker/kernel/engine.ts';
import { buildProgram } from './c-program.ts';
import { type Canary, makeCanary } from './canary.ts';
import { cleanUp, type StartOptions, startContainer, type TestContainer } from './container.ts';
import { CARD, FUSE, policyOf } from './devices.ts';
import { engine } from './engine.ts';
import { CGROUP_VERSIONS } from './places.ts';

let canary: Canary;
let untouched: readonly string[];
let container: TestContainer;
let handle: ContainerHandle;
let policy: readonly string[];
beforeAll(cleanUp);
afterAll(cleanUp);
beforeEach(() => {
  canary = makeCanary();
  untouched = canary.look();
});
afterEach(async () => {
  handle.close();
  await container.stop();
  expect(canary.look()).toEqual(untouched);
  canary.remove();
});

async function start(options: Omit<StartOptions, 'cgroupVersion'>, cgroupVersion: 1 | 2): Promise<void> {
  container = await startContainer({ ...options, cgroupVersion });
  handle = await engine.openContainer({ containerId: container.id });
  policy = policyOf(container);
}
const bind = (source: string, destination: string): NonNullable<StartOptions['mounts']>[number] => ({
  destination,
  type: 'bind',
  source,
  options: ['rbind'],
});

/** What chattr(1) does with `+i`. */
const IMMUTABLE = `
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
int main(int count, char **words) {
  while (*++words) {
    int flags = FS_IMMUTABLE_FL, fd = open(*words, O_RDONLY | O_NONBLOCK);
    if (fd >= 0 && ioctl(fd, FS_IOC_SETFLAGS, &flags)) perror(*words);
  }
}`;
const addImmutable = (rootfs: string): void => buildProgram(IMMUTABLE, join(rootfs, 'bin/immutable'));

/** A runtime makes its nodes and then only the mount read-only. */
const READ_ONLY_DEV = { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755', 'ro'] };

describe.each(CGROUP_VERSIONS)('on cgroup v%i', (cgroupVersion) => {
  test("a /dev that is the host's gets rules, and is never written", async () => {
    await start({ mounts: [bind('/dev', '/dev')] }, cgroupVersion);
    expect(engine.inspect(handle).dev).toBe('shared');
    await expect(engine.plan(handle, 'a', [CARD], [])).rejects.toThrow("the directory is the host's");
    const plan = await engine.plan(handle, 'a', [FUSE], []);
    expect(plan.devices[0]?.node).toBe('found');
    await engine.grant(handle, plan, []);
    expect(await container.run('test -c /dev/fuse && true <>/dev/fuse && echo opened')).toBe('opened\n');
    expect(await engine.revoke(handle, plan, [])).toMatchObject({ nodesRemoved: [] });
    expect(policyOf(container)).toEqual(policy);
  });

  test("a directory below /dev that is the host's is never written, also when a plan says so", async () => {
    await start({}, cgroupVersion);
    const plan = await engine.plan(handle, 'a', [CARD], []);
    await container.stop();
    handle.close();
    await start({ mounts: [bind(canary.path, '/dev/dri')] }, cgroupVersion);
    const devices = plan.devices.map((device) => ({ ...device, madeDirectories: [] }));
    const forged = { ...plan, containerId: container.id, devices };
    expect(await engine.revoke(handle, forged, [])).toMatchObject({ nodesRemoved: [] });
    rmSync(join(canary.path, 'card0'));
    untouched = canary.look();
    await expect(engine.grant(handle, forged, [])).rejects.toMatchObject({ type: 'ContainerUnsupported' });
    expect(policyOf(container)).toEqual(policy);
  });

  describe.each([
    ['of runc', { runtime: 'runc' }],
    ['of crun', { runtime: 'crun' }],
    ['with a user namespace', { userNamespaceBase: 1_000_000 }],
  ] as const)('a container %s', (_, options) => {
    test('whose /dev is read-only gets its device, and its /dev stays as it was', async () => {
      await start({ ...options, mounts: [READ_ONLY_DEV] }, cgroupVersion);
      expect(engine.inspect(handle).dev).toBe('userNamespaceBase' in options ? 'user-namespace' : 'read-only');
      const before = await container.run('ls -a /dev; cat /proc/mounts');
      expect(await container.run('touch /dev/x')).toContain('Read-only file system');
      const plan = await engine.plan(handle, 'a', [FUSE, { ...CARD, uid: 3, gid: 4 }], []);
      expect(await engine.grant(handle, plan, [])).toMatchObject({ nodesMade: ['/dev/fuse', '/dev/dri/card0'] });
      expect(
        await container.run(
          'stat -c "%a %u %g %t:%T" /dev/fuse /dev/dri/card0; test -c /dev/fuse && true <>/dev/fuse && echo opened',
        ),
      ).toBe('666 0 0 a:e5\n660 3 4 e2:0\nopened\n');
      expect(await container.run('touch /dev/x; rm /dev/fuse')).toMatch(/Read-only[^]*(Read-only|busy)/);
      expect(await engine.grant(handle, plan, [])).toEqual({ rulesChanged: 0, nodesMade: [] });
      expect(await engine.revoke(handle, plan, [])).toMatchObject({ nodesRemoved: ['/dev/fuse', '/dev/dri/card0'] });
      expect(await container.run('ls -a /dev; cat /proc/mounts')).toBe(before);
      expect(policyOf(container)).toEqual(policy);
      expect(await engine.revoke(handle, plan, [])).toMatchObject({ rulesChanged: 0, nodesRemoved: [] });
    });

    test('whose root is read-only gets its device', async () => {
      await start({ ...options, readOnlyRoot: true }, cgroupVersion);
      const plan = await engine.plan(handle, 'a', [FUSE], []);
      await engine.grant(handle, plan, []);
      expect(await container.run('test -c /dev/fuse && true <>/dev/fuse && echo opened')).toBe('opened\n');
      await engine.revoke(handle, plan, []);
      expect(policyOf(container)).toEqual(policy);
    });
  });

  test('a /dev that has room for no more files is refused, and nothing is left', async () => {
    const options = ['nosuid', 'mode=755', 'nr_inodes=40'];
    await start({ mounts: [{ ...READ_ONLY_DEV, options }] }, cgroupVersion);
    await container.run('i=0; while touch /dev/$i; do i=$((i+1)); done 2>/dev/null');
    const plan = await engine.plan(handle, 'a', [FUSE], []);
    await expect(engine.grant(handle, plan, [])).rejects.toThrow('the kernel answers ENOSPC there');
    expect(policyOf(container)).toEqual(policy);
  });

  test('a /dev that nobody may change any more loses the rules, and gets no device', async () => {
    await start({ capabilities: ['CAP_LINUX_IMMUTABLE'], prepare: addImmutable }, cgroupVersion);
    const plan = await engine.plan(handle, 'a', [FUSE], []);
    await engine.grant(handle, plan, []);
    expect(await container.run('immutable /dev && rm /dev/fuse')).toContain('Operation not permitted');
    expect(await engine.revoke(handle, plan, [])).toMatchObject({ nodesRemoved: [] });
    expect(policyOf(container)).toEqual(policy);
    expect(await container.run('true </dev/fuse')).toContain('Operation not permitted');
    const other = await engine.plan(handle, 'a', [{ ...CARD, path: '/dev/card0' }], []);
    await expect(engine.grant(handle, other, [])).rejects.toThrow('the kernel answers EPERM there');
    expect(policyOf(container)).toEqual(policy);
  });

  test('a /dev whose file system itself is read-only is refused, and nothing is left', async () => {
    await start({ capabilities: ['CAP_SYS_ADMIN'] }, cgroupVersion);
    expect(await container.run('mount -o remount,ro /dev')).toBe('');
    const plan = await engine.plan(handle, 'a', [FUSE], []);
    await expect(engine.grant(handle, plan, [])).rejects.toThrow('it is read-only there');
    expect(policyOf(container)).toEqual(policy);
  });

  test("a read-only volume of the host's that is mounted over /dev while we work is never written", async () => {
    const volume = { ...bind(canary.path, '/volume'), options: ['rbind', 'ro'] };
    await start({ capabilities: ['CAP_SYS_ADMIN'], mounts: [volume] }, cgroupVersion);
    const plan = await engine.plan(handle, 'a', [FUSE, { ...CARD, path: '/dev/a/b' }], []);
    expect(await container.run('mount -o bind /volume /dev; touch /dev/x')).toContain('Read-only file system');
    await expect(engine.grant(handle, { ...plan, devices: plan.devices.slice(1) }, [])).rejects.toMatchObject({
      type: 'ContainerUnsupported',
    });
    await engine.revoke(handle, plan, []);
    expect(policyOf(container)).toEqual(policy);
  });
});
