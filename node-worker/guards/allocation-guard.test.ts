import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { SlaveRef } from '../../contract/device-mount.ts';
import { attachInput, FUSE_RESOURCE, inTime, MemoryNode } from '../../test/node-worker/memory-node.ts';
import { attach } from '../steps/attach.ts';
import { AllocationGuard } from './allocation-guard.ts';

let node: MemoryNode;
let slave: SlaveRef;
let released: string[];
let guard: AllocationGuard;
beforeEach(async () => {
  node = await MemoryNode.make();
  slave = node.addSlave('s1');
  await attach(node.deps, attachInput(slave), { signal: inTime() });
  released = [];
  const release = (mount: { readonly name: string }, why: string): void => void released.push(`${mount.name}: ${why}`);
  guard = new AllocationGuard({ deps: node.deps, release, pollMs: 60_000 });
});
afterEach(async () => {
  await guard.stop();
  node.remove();
});

const WHY = `m1: the kubelet has given a device of ${FUSE_RESOURCE} to the pod s2-uid`;

describe('AllocationGuard', () => {
  test('leaves alone what only the slave has', async () => {
    node.addSlave('s2', ['/dev/fuse::1']);
    await guard.look();
    expect(released).toEqual([]);
  });

  test('releases what another pod has too, or instead', async () => {
    node.addSlave('s2');
    await guard.look();
    node.allocations = node.allocations.filter(({ podUid }) => podUid !== slave.uid);
    await guard.look();
    expect(released).toEqual([WHY, WHY]);
  });

  test('leaves alone what was taken back already', async () => {
    const [record] = node.deps.store.records();
    await node.deps.store.put({ ...record!, phase: 'revoked' });
    node.addSlave('s2');
    await guard.look();
    expect(released).toEqual([]);
  });

  test('wakes when something changes', async () => {
    guard.start();
    node.addSlave('s2');
    while (released.length === 0) {
      node.changes.notify();
      await new Promise(setImmediate);
    }
    expect(released[0]).toBe(WHY);
  });

  test('goes on when the kubelet’s checkpoint cannot be read for a while', async () => {
    const real = node.deps.kubelet;
    let broken = true;
    const kubelet = { ...real, allocations: () => (broken ? Promise.reject(new Error('torn')) : real.allocations()) };
    const release = (): void => void released.push('released');
    guard = new AllocationGuard({ deps: { ...node.deps, kubelet }, release, pollMs: 60_000 });
    node.addSlave('s2');
    await guard.look();
    broken = false;
    await guard.look();
    expect(released).toEqual(['released']);
  });
});
