import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { ContainerHandle, DeviceNode } from '../../node-worker/kernel/engine.ts';
import { cleanUp, startContainer, type TestContainer } from './container.ts';
import { engine } from './engine.ts';
import { CGROUP_VERSIONS } from './places.ts';

const FUSE: DeviceNode = {
  path: '/dev/fuse',
  type: 'c',
  major: 10,
  minor: 229,
  access: 'rw',
  mode: 0o666,
  uid: 0,
  gid: 0,
};
beforeAll(cleanUp);
afterAll(cleanUp);

describe.each(CGROUP_VERSIONS)('a runc container on cgroup v%i', (cgroupVersion) => {
  let container: TestContainer;
  let handle: ContainerHandle;
  beforeEach(async () => {
    container = await startContainer({ cgroupVersion });
    handle = await engine.openContainer({ containerId: container.id, pid: container.pid });
  });
  afterEach(async () => {
    handle.close();
    await container.stop();
  });

  test('is found by its id alone', async () => {
    const found = await engine.openContainer({ containerId: container.id });
    expect(found).toMatchObject({
      pid: container.pid,
      cgroup: { version: cgroupVersion, path: container.cgroup },
    });
    found.close();
  });

  test('opens a granted device, and not before nor after', async () => {
    expect(await container.run('true </dev/fuse')).toContain("can't open");
    const plan = await engine.plan(handle, 'a', [FUSE], []);
    expect(await engine.grant(handle, plan, [])).toEqual({ rulesChanged: 1, nodesMade: ['/dev/fuse'] });
    expect(
      await container.run('stat -c "%a %t:%T" /dev/fuse; test -c /dev/fuse && true <>/dev/fuse && echo opened'),
    ).toBe('666 a:e5\nopened\n');
    expect(await engine.drifted(handle, [plan])).toBe(false);
    expect(await engine.grant(handle, plan, [])).toEqual({ rulesChanged: 0, nodesMade: [] });
    expect(await engine.revoke(handle, plan, [])).toMatchObject({
      rulesChanged: 1,
      nodesRemoved: ['/dev/fuse'],
      stillAllowed: [],
    });
    expect(await container.run('ls /dev/fuse')).toContain('No such file');
    expect(await container.run('mknod /dev/f c 10 229; true </dev/f')).toContain('Operation not permitted');
  });
});
