import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { SlaveRef } from '../../contract/device-mount.ts';
import type { DetachInput } from '../../contract/node-activities.ts';
import {
  attachInput,
  FUSE_RESOURCE,
  inTime,
  MemoryNode,
  mountRequest,
  restartContainer,
  USER,
  unmountRequest,
} from '../../test/node-worker/memory-node.ts';
import { recover } from '../guards/recover.ts';
import { SlaveGuard } from '../guards/slave-guard.ts';
import { attach, attachAgain } from './attach.ts';
import { detach } from './detach.ts';

const KVM_RESOURCE = 'hostdev.k8s.io/dev_kvm';

let node: MemoryNode;
beforeEach(async () => {
  node = await MemoryNode.make();
});
afterEach(() => node.remove());

const usable = (): readonly string[] => [...(node.engine.containers.get('c1') ?? [])];

describe('detach() of one device', () => {
  test('keeps the rest of the mount', async () => {
    const pair = node.addSlave('s3', ['/dev/fuse::2', '/dev/fuse::3'], 'm3');
    const resources = { [FUSE_RESOURCE]: '2' };
    await attach(node.deps, attachInput(pair, { name: 'm3', resources }), { signal: inTime() });
    const mounts = [{ namespace: 'default', name: 'm3' }];
    const released = await detach(node.deps, { mounts, slaves: [pair], device: '/dev/fuse::2', force: false });
    expect(released.mounts[0]?.devices.map(({ id }) => id)).toEqual(['/dev/fuse::2']);
    expect(node.deps.store.get(mounts[0]!)?.devices.map(({ id }) => id)).toEqual(['/dev/fuse::3']);
    expect(usable()).toEqual(['/dev/fuse']);
    await detach(node.deps, { mounts, slaves: [pair], device: '/dev/fuse::3', force: false });
    expect(usable()).toEqual([]);
    expect(node.deps.store.records()).toEqual([]);
  });
});

describe('detach() of one device of a split mount', () => {
  const NAMES = ['web-0-slave-0123456789ab-0', 'web-0-slave-0123456789ab-1'] as const;
  const SPLIT = { namespace: 'default', name: 'm3' };
  const request = { name: 'm3', resources: { [FUSE_RESOURCE]: '1', [KVM_RESOURCE]: '1' }, split: true } as const;
  const detachKvm = (change: Partial<DetachInput> = {}) =>
    detach(node.deps, { mounts: [SPLIT], slaves, device: '/dev/kvm', force: false, ...change });
  let slaves: readonly SlaveRef[];
  beforeEach(async () => {
    slaves = [
      node.addSlave(NAMES[0], ['/dev/fuse'], 'm3'),
      node.addSlave(NAMES[1], ['/dev/kvm'], 'm3', '/dev/kvm', KVM_RESOURCE),
    ];
    await attach(node.deps, { signed: mountRequest(request), slaves }, { signal: inTime() });
  });

  test('takes only what its slave holds, and lets that slave end', async () => {
    expect(usable()).toEqual(['/dev/fuse', '/dev/kvm']);
    const { mounts } = await detachKvm();
    expect(mounts).toMatchObject([{ devices: [{ id: '/dev/kvm', slave: NAMES[1] }] }]);
    expect(await detachKvm()).toMatchObject({ mounts: [{ devices: [] }] });
    const guard = new SlaveGuard({ deps: node.deps, tellOwner: async () => undefined, retryMs: 10 });
    guard.slaveEnded(slaves[1]!.uid, 'it is being deleted');
    await guard.stop();
    expect(usable()).toEqual(['/dev/fuse']);
    expect(node.deps.store.get(SPLIT)).toMatchObject({ phase: 'attached', slaves: [slaves[0]] });
    expect(slaves.map(({ uid }) => node.deps.store.buried(uid))).toEqual([false, true]);
  });

  test('is finished by its repetition when the node worker was killed in the middle of it', async () => {
    node.deps.store.put = () => Promise.reject(new Error('killed'));
    await expect(detachKvm()).rejects.toThrow('killed');
    await node.restart();
    await recover(node.deps);
    expect(node.deps.store.get(SPLIT)?.devices).toHaveLength(2);
    await detachKvm();
    expect(usable()).toEqual(['/dev/fuse']);
  });

  test.each([
    ['a request of which the time is over', { requestedAt: '2026-01-01T00:00:00Z' }],
    ['a request about another device', { device: '/dev/fuse' }],
  ])('by %s takes it only from a mount of which a slave is named', async (_, change) => {
    const signed = unmountRequest({ device: '/dev/kvm', ...change });
    expect(await detachKvm({ slaves: [], signed })).toMatchObject({ mounts: [{ devices: [] }] });
    expect(usable()).toEqual(['/dev/fuse', '/dev/kvm']);
    await detachKvm({ signed });
    expect(usable()).toEqual(['/dev/fuse']);
  });

  test('follows a restart of the container with what is left', async () => {
    await detachKvm();
    node.allocations = node.allocations.filter(({ podUid }) => podUid !== slaves[1]?.uid);
    restartContainer(node, 'c2');
    await attachAgain(node.deps, node.deps.store.get(SPLIT)!, { signal: inTime() });
    expect([...(node.engine.containers.get('c2') ?? [])]).toEqual(['/dev/fuse']);
  });

  test('forgets no device of an ending mount whose users the kernel does not end', async () => {
    node.engine.users.set('c1', [{ ...USER, device: 'c 10:232' }]);
    node.engine.stuck.add(USER.pid);
    node.endPod(NAMES[1]);
    await expect(detachKvm({ force: true })).rejects.toMatchObject({ type: 'Internal' });
    expect(node.deps.store.get(SPLIT)?.devices).toHaveLength(2);
  });

  test('is refused for processes that use it, and for those only', async () => {
    node.engine.users.set('c1', [USER]);
    await detachKvm();
    node.engine.users.set('c1', [USER, { ...USER, pid: 8 }]);
    await expect(detachKvm({ device: '/dev/fuse' })).rejects.toMatchObject({ type: 'DeviceBusy' });
  });

  test('does not make a request to force for one device count for the others', async () => {
    node.engine.users.set('c1', [USER]);
    const signed = unmountRequest({ force: true, device: '/dev/kvm' });
    await expect(detachKvm({ device: '/dev/fuse', signed })).rejects.toMatchObject({ type: 'DeviceBusy' });
    await expect(detach(node.deps, { mounts: [SPLIT], slaves, force: false, signed })).rejects.toMatchObject({
      type: 'DeviceBusy',
    });
    expect(node.engine.killed).toEqual([]);
  });
});
