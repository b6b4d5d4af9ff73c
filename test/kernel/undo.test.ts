import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { ContainerHandle, DeviceNode } from '../../node-worker/kernel/engine.ts';
import { cleanUp, type StartOptions, startContainer, type TestContainer } from './container.ts';
import { CARD, FUSE, policyOf } from './devices.ts';
import { engine } from './engine.ts';
import { CGROUP_VERSIONS } from './places.ts';

const NULL_TWIN: DeviceNode = { ...FUSE, path: '/dev/sub/dir/full', major: 1, minor: 7, mode: 0o640, uid: 7, gid: 8 };
beforeAll(cleanUp);
afterAll(cleanUp);

let container: TestContainer;
let handle: ContainerHandle;
let before: readonly string[];
async function start(options: StartOptions): Promise<void> {
  container = await startContainer(options);
  handle = await engine.openContainer({ containerId: container.id, pid: container.pid });
  before = policyOf(container);
}
afterEach(async () => {
  handle.close();
  await container.stop();
});

describe.each(CGROUP_VERSIONS)('undo on cgroup v%i', (cgroupVersion) => {
  describe('of a plain container', () => {
    beforeEach(() => start({ cgroupVersion }));

    test('leaves policy and nodes as they were', async () => {
      const plan = await engine.plan(handle, 'a', [FUSE, NULL_TWIN], []);
      await engine.grant(handle, plan, []);
      expect(await container.run('stat -c "%a %u %g %t:%T" /dev/sub/dir/full; stat -c %a /dev/sub')).toBe(
        '640 7 8 1:7\n755\n',
      );
      expect(policyOf(container)).not.toEqual(before);
      await engine.revoke(handle, plan, []);
      expect(policyOf(container)).toEqual(before);
      expect(await container.run('ls -a /dev')).not.toMatch(/sub|fuse|devmnt/);
      expect(await engine.revoke(handle, plan, [])).toMatchObject({ rulesChanged: 0, nodesRemoved: [] });
    });

    test('of nothing changes nothing', async () => {
      const plan = await engine.plan(handle, 'a', [FUSE], []);
      expect(await engine.revoke(handle, plan, [])).toEqual({ rulesChanged: 0, nodesRemoved: [], stillAllowed: [] });
      expect(policyOf(container)).toEqual(before);
    });

    test('leaves what another owner still has, whoever ends first', async () => {
      const reader = await engine.plan(handle, 'reader', [{ ...FUSE, access: 'r' }, CARD], []);
      await engine.grant(handle, reader, []);
      const writer = await engine.plan(handle, 'writer', [FUSE], [reader]);
      await engine.grant(handle, writer, [reader]);
      expect(engine.accessTo(handle, FUSE)).toContain('rw');
      expect(await engine.revoke(handle, reader, [writer])).toMatchObject({
        nodesRemoved: ['/dev/dri/card0'],
        stillAllowed: ['c 10:229'],
      });
      expect(await container.run('test -c /dev/fuse && true <>/dev/fuse && echo opened')).toBe('opened\n');
      expect(await container.run('ls /dev/dri')).toContain('No such file');
      await engine.revoke(handle, writer, []);
      expect(policyOf(container)).toEqual(before);
      expect(await container.run('ls /dev')).not.toMatch(/fuse/);
    });

    test('leaves a node that the container had, and takes only the rule', async () => {
      await container.run('mknod /dev/fuse c 10 229');
      const plan = await engine.plan(handle, 'a', [FUSE], []);
      expect(await engine.grant(handle, plan, [])).toMatchObject({ nodesMade: [] });
      expect(await engine.revoke(handle, plan, [])).toMatchObject({ nodesRemoved: [] });
      expect(await container.run('stat -c %t:%T /dev/fuse; true <>/dev/fuse')).toMatch(
        /^a:e5\n.*Operation not permitted/,
      );
    });

    test('happens by itself when a node cannot be made', async () => {
      const plan = await engine.plan(handle, 'a', [FUSE, CARD], []);
      await container.run('mkdir -p /dev/dri; echo mine >/dev/dri/card0');
      await expect(engine.grant(handle, plan, [])).rejects.toMatchObject({ type: 'ContainerUnsupported' });
      expect(policyOf(container)).toEqual(before);
      expect(await container.run('cat /dev/dri/card0; ls /dev/fuse')).toMatch(/^mine\n.*No such file/);
    });

    test('removes what a killed grant left under its temporary name', async () => {
      const plan = await engine.plan(handle, 'a', [FUSE], []);
      await container.run('mknod /dev/.fuse.devmnt c 10 229');
      await engine.revoke(handle, plan, []);
      expect(await container.run('ls -a /dev')).not.toContain('devmnt');
    });
  });

  test('of a container that had part of the access leaves that part', async () => {
    await start({ cgroupVersion, devices: [{ path: '/dev/fuse', type: 'c', major: 10, minor: 229, access: 'r' }] });
    const plan = await engine.plan(handle, 'a', [FUSE], []);
    await engine.grant(handle, plan, []);
    expect(await container.run('test -c /dev/fuse && true <>/dev/fuse && echo opened')).toBe('opened\n');
    // It has lost the right to write: who has it open for that is a user.
    expect(await engine.revoke(handle, plan, [])).toMatchObject({ stillAllowed: [] });
    expect(policyOf(container)).toEqual(before);
    expect(await container.run('true </dev/fuse && echo read; true <>/dev/fuse')).toMatch(
      /^read\n.*Operation not permitted/,
    );
  });

  test('of a privileged container changes no rule and tells so', async () => {
    await start({ cgroupVersion, privileged: true });
    const plan = await engine.plan(handle, 'a', [FUSE], []);
    expect(await engine.grant(handle, plan, [])).toEqual({ rulesChanged: 0, nodesMade: ['/dev/fuse'] });
    expect(await container.run('test -c /dev/fuse && true <>/dev/fuse && echo opened')).toBe('opened\n');
    expect(await engine.revoke(handle, plan, [])).toEqual({
      rulesChanged: 0,
      nodesRemoved: ['/dev/fuse'],
      stillAllowed: ['c 10:229'],
    });
    expect(policyOf(container)).toEqual(before);
  });

  test('drift is found and mended', async () => {
    await start({ cgroupVersion });
    const plan = await engine.plan(handle, 'a', [FUSE], []);
    await engine.grant(handle, plan, []);
    await container.run('rm /dev/fuse');
    expect(await engine.drifted(handle, [plan])).toBe(true);
    expect(await engine.grant(handle, plan, [])).toEqual({ rulesChanged: 0, nodesMade: ['/dev/fuse'] });
    expect(await engine.drifted(handle, [plan])).toBe(false);
    await engine.revoke(handle, plan, []);
    expect(await engine.drifted(handle, [plan])).toBe(true);
  });
});

if (CGROUP_VERSIONS.includes(1)) {
  test('on cgroup v1 reaches nested cgroups and gives them back what they had', async () => {
    await start({ cgroupVersion: 1 });
    const nested = container.nest('a/b', ['deny c 1:7 rwm', 'allow c 1:7 r']);
    const own = (): string => readFileSync(`${nested}/devices.list`, 'utf8').split('\n').sort().join('\n');
    const list = own();
    const plan = await engine.plan(handle, 'a', [FUSE, NULL_TWIN], []);
    await engine.grant(handle, plan, []);
    expect(own()).toContain('c 10:229 rw');
    expect(own()).toContain('c 1:7 rw');
    await engine.revoke(handle, plan, []);
    expect(own()).toBe(list);
    expect(policyOf(container)).toEqual(before);
  });
}
