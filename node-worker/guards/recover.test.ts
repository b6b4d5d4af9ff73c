import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { SlaveRef } from '../../contract/device-mount.ts';
import { attachInput, inTime, MemoryNode } from '../../test/node-worker/memory-node.ts';
import type { DeviceUser } from '../kernel/engine.ts';
import { attach } from '../steps/attach.ts';
import { detach } from '../steps/detach.ts';
import { recover } from './recover.ts';

const MOUNT = { namespace: 'default', name: 'm1' };

const USER: DeviceUser = {
  pid: 7,
  startTime: '1',
  command: 'cat',
  containerInit: false,
  via: 'fd',
  device: 'c 10:229',
};

let node: MemoryNode;
let slave: SlaveRef;
beforeEach(async () => {
  node = await MemoryNode.make();
  slave = node.addSlave('s1');
});
afterEach(() => node.remove());

const usable = (): readonly string[] => [...(node.engine.containers.get('c1') ?? [])];
const attachNow = (of = slave) => attach(node.deps, attachInput(of), { signal: inTime() });

describe('recover()', () => {
  test('undoes an attach that was cut off, and the next try attaches', async () => {
    let cut = true;
    node.engine.before = (change) => {
      // What is left of a killed process: the checkpoint, and part of the change.
      if (change === 'grant' && cut) node.engine.containers.get('c1')?.add('/dev/fuse');
      if (cut) throw new Error('killed');
    };
    await expect(attachNow()).rejects.toThrow('killed');
    cut = false;
    await node.restart();
    expect(node.deps.store.get(MOUNT)?.phase).toBe('attaching');
    await recover(node.deps);
    expect(usable()).toEqual([]);
    expect(node.deps.store.records()).toEqual([]);
    await attachNow();
    expect(usable()).toEqual(['/dev/fuse']);
  });

  test('waits for no container before it has begun with the others', async () => {
    await attachNow();
    const first = node.deps.store.get(MOUNT);
    if (first === undefined) throw new Error('nothing was attached');
    node.engine.containers.set('c2', new Set(['/dev/fuse']));
    const { target } = first.signed.request;
    const request = { ...first.signed.request, target: { ...target, podUid: 'db-uid' } };
    const mount = { ...MOUNT, name: 'm2' };
    const devices = first.devices.map((device) => ({ ...device, grant: { ...device.grant, containerId: 'c2' } }));
    const second = { ...first, mount, containerId: 'c2', devices, signed: { ...first.signed, request } };
    for (const record of [first, second]) await node.deps.store.put({ ...record, phase: 'attaching' });
    const others = Promise.withResolvers<void>();
    node.engine.before = async (_, { containerId }) => (containerId === 'c1' ? others.promise : others.resolve());
    await recover(node.deps);
    expect(node.deps.store.records()).toEqual([]);
  });

  test('gives nothing back of a complete mount, which is for the healer to look at', async () => {
    await attachNow();
    node.engine.containers.get('c1')?.clear();
    await node.restart();
    await recover(node.deps);
    expect([usable(), node.deps.store.get(MOUNT)?.phase]).toEqual([[], 'attached']);
  });
});

describe('an attach', () => {
  test('that fails does not forget a process that has opened the device by then', async () => {
    const { allocations } = node;
    node.engine.before = (change) => {
      if (change !== 'grant') return;
      node.engine.users.set('c1', [USER]);
      node.allocations = [];
    };
    await expect(attachNow()).rejects.toMatchObject({ type: 'NotAllocated' });
    expect(usable()).toEqual([]);
    expect(await detach(node.deps, { mounts: [MOUNT], slaves: [], force: true })).toMatchObject({ mounts: [{}] });
    expect(node.deps.store.get(MOUNT)).toMatchObject({ phase: 'revoked', leftToDo: 'endUsers' });
    node.engine.before = () => undefined;
    node.allocations = allocations;
    await attachNow();
    expect([usable(), node.deps.store.get(MOUNT)?.phase]).toEqual([['/dev/fuse'], 'attached']);
  });

  test('of other slaves does not forget a process that uses what the first ones hold', async () => {
    await attachNow();
    node.engine.users.set('c1', [USER]);
    const other = node.addSlave('s2', ['/dev/fuse::2']);
    await expect(attachNow(other)).rejects.toMatchObject({ type: 'DeviceBusy' });
    expect(usable()).toEqual([]);
    expect(node.deps.store.get(MOUNT)).toMatchObject({ leftToDo: 'endUsers', slaves: [slave] });
  });
});
