import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { AttachInput, AttachResult } from '../../contract/node-activities.ts';
import { attachInput, inTime, MemoryNode } from '../../test/node-worker/memory-node.ts';
import { UUIDS } from '../../test/node-worker/nvidia-tree.ts';
import { attach } from './attach.ts';

const gpu = { deviceType: 'NVIDIA_GPU', resources: { 'nvidia.com/gpu': '1' } } as const;

let node: MemoryNode;
beforeEach(async () => {
  node = await MemoryNode.make();
  node.addGpus();
});
afterEach(() => node.remove());

const usable = (): readonly string[] => [...(node.engine.containers.get('c1') ?? [])];
const attachNow = (input: AttachInput): Promise<AttachResult> => attach(node.deps, input, { signal: inTime() });

describe('attach() of GPUs', () => {
  test('gives them before their slave runs, and waits for it where the driver does not know them', async () => {
    const [known, mig] = [node.addGpuSlave('g1', [UUIDS[0]]), node.addGpuSlave('g2', ['MIG-1'], 'm2')];
    for (const { name, uid } of [known, mig])
      node.addPod({ name, uid, mount: name === 'g1' ? 'm1' : 'm2', running: false });
    expect((await attachNow(attachInput(known, gpu))).devices).toMatchObject([
      { id: UUIDS[0], nodes: [{ minor: 1 }, {}, {}] },
    ]);
    const attaching = attachNow(attachInput(mig, { ...gpu, name: 'm2' }));
    await node.deps.pods.get('default', 'g2');
    expect(usable()).toEqual(['/dev/nvidia1', '/dev/nvidiactl', '/dev/nvidia-uvm']);
    node.engine.containers.set(`${mig.uid}-container`, new Set(['/dev/nvidia0']));
    node.addPod({ name: 'g2', uid: mig.uid, mount: 'm2' });
    node.changes.notify();
    await attaching;
    expect(usable()).toContain('/dev/nvidia0');
  });

  test.each([
    ['warns of a container without the libraries', new Set<string>(), 1],
    ['says nothing of one that has them', new Set(['/usr/lib64/libcuda.so.1']), 0],
    ['says nothing of one that cannot be looked at', undefined, 0],
  ])('gives them, and %s', async (_name, files, count) => {
    node.engine.files = files;
    const { devices, warnings = [] } = await attachNow(attachInput(node.addGpuSlave('g1', [UUIDS[0]]), gpu));
    expect([devices.length, warnings.length, node.events.length]).toEqual([1, count, count]);
    expect(warnings.filter(({ type }) => type !== 'DriverFilesMissing')).toEqual([]);
    const messages = warnings.map(({ message }) => message);
    const said = [messages, node.events].flat().filter((text) => !/libcuda.*NVIDIA_VISIBLE_DEVICES=none/.test(text));
    expect(said).toEqual([]);
  });
});
