import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { SlaveRef } from '../../contract/device-mount.ts';
import { attachInput, inTime, MemoryNode } from '../../test/node-worker/memory-node.ts';
import { attach } from './attach.ts';
import { detach } from './detach.ts';
import { takenBack } from './taken-back.ts';

const MOUNT = { namespace: 'default', name: 'm1' };

let node: MemoryNode;
let slave: SlaveRef;
beforeEach(async () => {
  node = await MemoryNode.make();
  slave = node.addSlave('s1');
  await attach(node.deps, attachInput(slave), { signal: inTime() });
});
afterEach(() => node.remove());

const ask = (slaves: readonly SlaveRef[] = [slave]) =>
  takenBack(node.deps.store, { mounts: [{ ...MOUNT, slaves }] }).mounts;

test('takenBack() names no mount that is attached', () => {
  expect(ask()).toEqual([]);
});

test('takenBack() names a mount whose slaves were all detached', async () => {
  await detach(node.deps, { mounts: [MOUNT], slaves: [slave], force: false });
  expect(ask()).toEqual([MOUNT]);
  expect(ask([slave, { namespace: 'default', name: 's2', uid: 's2-uid' }])).toEqual([]);
  expect(ask([])).toEqual([]);
});

test('takenBack() names no mount whose checkpoint was lost, since its container may use the devices', async () => {
  await node.deps.store.delete(MOUNT);
  expect(ask()).toEqual([]);
});
