import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { SlaveRef } from '../../../contract/device-mount.ts';
import { attach } from '../../../node-worker/steps/attach.ts';
import { detach } from '../../../node-worker/steps/detach.ts';
import { FUSE_RESOURCE, inTime, mountRequest } from '../../node-worker/memory-node.ts';
import { cleanUp } from '../container.ts';
import { policyOf, until } from '../devices.ts';
import { CGROUP_VERSIONS } from '../places.ts';
import { KernelNode } from './node.ts';

const MOUNT = { namespace: 'default', name: 'm1' };
/** Misc device 10:237: an open of it does nothing. */
const LOOP = '/dev/loop-control';
const LOOP_RESOURCE = 'hostdev.k8s.io/dev_loop-control';

beforeAll(cleanUp);
afterAll(cleanUp);

describe.each(CGROUP_VERSIONS)('a split mount with runc on cgroup v%i', (cgroupVersion) => {
  let node: KernelNode;
  let target: NonNullable<KernelNode['target']>;
  let before: readonly string[];
  let slaves: readonly SlaveRef[];
  beforeEach(async () => {
    node = await KernelNode.make();
    target = node.target = await node.start({ cgroupVersion });
    before = policyOf(target);
    slaves = [
      node.memory.addSlave('web-0-slave-0123456789ab-0'),
      node.memory.addSlave('web-0-slave-0123456789ab-1', ['loop'], 'm1', LOOP, LOOP_RESOURCE),
    ];
    const resources = { [FUSE_RESOURCE]: '1', [LOOP_RESOURCE]: '1' };
    const signed = mountRequest({ resources, split: true });
    await attach(node.deps, { signed, slaves }, { signal: inTime() });
    expect([await opens('/dev/fuse'), await opens(LOOP)]).toEqual([true, true]);
  });
  afterEach(() => node.stop());

  const opens = async (path: string): Promise<boolean> =>
    (await target.run(`true <${path} && echo opened`)).includes('opened');
  const detachOne = (device: string) => detach(node.deps, { mounts: [MOUNT], slaves, device, force: false });

  test('loses one device, rule and node, keeps the other, and leaves no trace at the end', async () => {
    await detachOne('loop');
    expect([await opens('/dev/fuse'), await opens(LOOP)]).toEqual([true, false]);
    expect(await target.run(`ls ${LOOP}`)).toContain('No such file');
    expect(await target.run('mknod /dev/l c 10 237; true </dev/l')).toContain('Operation not permitted');
    await node.look();
    expect(node.told).toEqual([]);
    expect([await opens('/dev/fuse'), await opens(LOOP)]).toEqual([true, false]);
    await detachOne('/dev/fuse');
    expect(policyOf(target)).toEqual(before);
    expect(node.deps.store.records()).toEqual([]);
  });

  test('gives one device back while a process holds the other, which is refused', async () => {
    await target.run('sleep 1000 3<>/dev/fuse &');
    const { engine } = node.deps;
    const handle = await engine.openContainer({ containerId: target.id });
    try {
      const fuse = node.deps.store.get(MOUNT)?.devices[0]?.grant.devices ?? [];
      await until(
        () => engine.usersOf(handle, fuse),
        (users) => users.length > 0,
      );
    } finally {
      handle.close();
    }
    await detachOne('loop');
    await expect(detachOne('/dev/fuse')).rejects.toMatchObject({ type: 'DeviceBusy' });
    expect([await opens('/dev/fuse'), await opens(LOOP)]).toEqual([true, false]);
  });
});
