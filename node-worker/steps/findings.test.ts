import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { SlaveRef } from '../../contract/device-mount.ts';
import { MemoryNode } from '../../test/node-worker/memory-node.ts';
import { withWords } from './findings.ts';

let node: MemoryNode;
let slave: SlaveRef;
beforeEach(async () => {
  node = await MemoryNode.make();
  slave = node.addSlave('s1');
});
afterEach(() => node.remove());

describe('withWords()', () => {
  test('adds what the driver reads of a slave, and nothing else', async () => {
    const annotations = { 'x.io/assigned': 'x-0', 'cni.io/address': '10.0.0.1' };
    node.addPod({ ...slave, labels: { 'x.io/kind': 'big' }, annotations });
    const finding = { slave, allocations: [] };
    const reads = ['x.io/assigned', 'x.io/kind', 'x.io/absent'];
    expect(await withWords(node.deps, { reads }, [finding])).toEqual([
      { ...finding, words: { 'x.io/assigned': 'x-0', 'x.io/kind': 'big' } },
    ]);
    expect(await withWords(node.deps, {}, [finding])).toEqual([finding]);
  });

  test('refuses a pod that has only the name of the slave', async () => {
    const other = { slave: { ...slave, uid: 'earlier' }, allocations: [] };
    await expect(withWords(node.deps, { reads: ['x.io/a'] }, [other])).rejects.toMatchObject({ type: 'SlaveEnded' });
  });
});
