import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { ContainerHandle } from '../../node-worker/kernel/engine.ts';
import { stableBytes, syscall } from '../../node-worker/kernel/syscall.ts';
import { cleanUp, startContainer, type TestContainer } from './container.ts';
import { CARD, FUSE, policyOf } from './devices.ts';
import { engine } from './engine.ts';
import { CGROUP_VERSIONS } from './places.ts';

/** Of the files of one container, as container-selinux has them. */
const LABEL = 'system_u:object_r:container_file_t:s0:c12,c34';

let container: TestContainer;
let handle: ContainerHandle;
beforeAll(cleanUp);
afterAll(cleanUp);

/** Namespace, root and working directory of every thread of this process. */
const whereabouts = (): readonly string[] => [
  ...new Set(
    readdirSync('/proc/self/task').map((thread) =>
      ['ns/mnt', 'root', 'cwd'].map((link) => readlinkSync(`/proc/self/task/${thread}/${link}`)).join(' '),
    ),
  ),
];

describe.each(CGROUP_VERSIONS)('a container with a user namespace on cgroup v%i', (cgroupVersion) => {
  let before: readonly string[];
  beforeEach(async () => {
    container = await startContainer({ cgroupVersion, userNamespaceBase: 1_000_000 });
    handle = await engine.openContainer({ containerId: container.id });
    before = policyOf(container);
  });
  afterEach(async () => {
    handle.close();
    await container.stop();
  });

  test('gets nodes of its own ids and gives them back', async () => {
    const mine = whereabouts();
    expect(engine.inspect(handle).dev).toBe('user-namespace');
    const plan = await engine.plan(
      handle,
      'a',
      [
        { ...FUSE, mode: 0o600 },
        { ...CARD, uid: 3, gid: 4 },
      ],
      [],
    );
    expect(await engine.grant(handle, plan, [])).toMatchObject({ nodesMade: ['/dev/fuse', '/dev/dri/card0'] });
    expect(
      await container.run(
        'stat -c "%a %u %g %t:%T" /dev/fuse /dev/dri/card0; test -c /dev/fuse && true <>/dev/fuse && echo opened',
      ),
    ).toBe('600 0 0 a:e5\n660 3 4 e2:0\nopened\n');
    expect(await container.run('true </dev/dri/card0')).toContain('No such device or address');
    expect(await engine.drifted(handle, [plan])).toBe(false);
    expect(await engine.grant(handle, plan, [])).toEqual({ rulesChanged: 0, nodesMade: [] });
    expect(await engine.revoke(handle, plan, [])).toMatchObject({ nodesRemoved: ['/dev/fuse', '/dev/dri/card0'] });
    expect(await container.run('ls -a /dev')).not.toMatch(/fuse|dri/);
    expect(await container.run('cat /proc/mounts')).not.toMatch(/fuse|dri/);
    expect(policyOf(container)).toEqual(before);
    expect(await engine.revoke(handle, plan, [])).toMatchObject({ rulesChanged: 0, nodesRemoved: [] });
    expect(whereabouts()).toEqual(mine);
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toMatch(/ \/sys .* tmpfs /);
  });

  // As a file system for everything in a container of SELinux has it; this kernel may have none, and keep it as any attribute.
  test('gets nodes with the label of its own files', async () => {
    const bytes = stableBytes(LABEL.length);
    bytes.write(LABEL, 'latin1');
    syscall('setxattr', [`/proc/${container.pid}/root/dev`, 'security.selinux', bytes, LABEL.length, 0]);
    const plan = await engine.plan(handle, 'a', [FUSE], []);
    await engine.grant(handle, plan, []);
    bytes.fill(0);
    syscall('getxattr', [`/proc/${container.pid}/root/dev/fuse`, 'security.selinux', bytes, bytes.length]);
    expect(bytes.toString('latin1', 0, LABEL.length)).toBe(LABEL);
    await engine.revoke(handle, plan, []);
  });

  test('is refused where something else is in the way, and keeps it', async () => {
    await container.run('echo mine >/dev/fuse; ln -s /etc /dev/dri');
    for (const device of [FUSE, CARD])
      await expect(engine.plan(handle, 'a', [device], [])).rejects.toThrow('Cannot make device node');
    expect(await container.run('cat /dev/fuse; ls /etc')).toBe('mine\n');
    expect(policyOf(container)).toEqual(before);
  });

  test('loses what an interrupted grant left', async () => {
    const plan = await engine.plan(handle, 'a', [FUSE], []);
    await container.run('touch /dev/fuse; chmod 000 /dev/fuse');
    await engine.revoke(handle, plan, []);
    expect(await container.run('ls -a /dev')).not.toMatch(/fuse/);
  });
});
