import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { SlaveRef } from '../../contract/device-mount.ts';
import { attach } from './attach.ts';
import { attachInput, MemoryNode } from './memory-node.ts';
import { recover } from './recover.ts';

const MOUNT = { namespace: 'default', name: 'm1' };

let node: MemoryNode;
let slave: SlaveRef;
beforeEach(async () => {
  node = await MemoryNode.make();
  slave = node.addSlave('s1');
});
afterEach(() => node.remove());

const usable = (): readonly string[] => [...(node.engine.containers.get('c1') ?? [])];
const attachNow = () => attach(node.deps, attachInput(slave), { signal: AbortSignal.timeout(2_000) });

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
