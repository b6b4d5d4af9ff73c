import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { allocationOf } from '../../test/node-worker/memory-host.ts';
import { attachInput, inTime, MemoryNode } from '../../test/node-worker/memory-node.ts';
import { attach } from './attach.ts';

const REAL = 'huawei.com/AscendReal';
const NPU = { deviceType: 'ASCEND_NPU', resources: { 'huawei.com/Ascend910': '1' } } as const;
const NODES = ['/dev/davinci0', '/dev/davinci_manager'];

let node: MemoryNode;
beforeEach(async () => {
  node = await MemoryNode.make();
  mkdirSync(join(node.hostRoot, 'dev'), { recursive: true });
  for (const path of NODES) writeFileSync(join(node.hostRoot, path), '');
});
afterEach(() => node.remove());

const usable = (): readonly string[] => [...(node.engine.containers.get('c1') ?? [])];

describe('attach() of an NPU', () => {
  const slave = { namespace: 'default', name: 's1', uid: 's1-uid' };

  /** Mounts it while the device plugin writes `real`, after the slave has been looked at for the first time. */
  async function attachWhileWritten(real: string): Promise<void> {
    const devices = NODES.map((path) => ({ hostPath: path, containerPath: path, permissions: 'rw' }));
    node.allocations.push({ ...allocationOf('huawei.com/Ascend910', ['Ascend910-0'], { devices }), podUid: slave.uid });
    node.accepted.add(slave.uid);
    node.addPod(slave);
    const { store } = node.deps;
    const put = store.put.bind(store);
    store.put = (record) => {
      node.addPod({ ...slave, annotations: { [REAL]: real } });
      return put(record);
    };
    await attach(node.deps, attachInput(slave, NPU), { signal: inTime() });
  }

  test('goes on when the device plugin tells meanwhile that it has given that one', async () => {
    await attachWhileWritten('Ascend910-0');
    expect(usable()).toEqual(NODES);
  });

  test('is undone when it tells that it has given another', async () => {
    await expect(attachWhileWritten('Ascend910-1')).rejects.toMatchObject({
      type: 'NotAllocated',
      message: expect.stringContaining(`its device plugin names NPU 0, its annotation ${REAL} NPU 1`),
    });
    expect(usable()).toEqual([]);
  });
});
