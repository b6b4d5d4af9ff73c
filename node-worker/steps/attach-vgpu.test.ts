import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { SlaveRef } from '../../contract/device-mount.ts';
import type { AttachResult } from '../../contract/node-activities.ts';
import { allocationOf } from '../../test/node-worker/memory-host.ts';
import { attachInput, inTime, MemoryNode } from '../../test/node-worker/memory-node.ts';
import { UUIDS } from '../../test/node-worker/nvidia-tree.ts';
import { VGPU, vgpuWord } from '../../test/node-worker/vgpu.ts';
import { AllocationGuard } from '../guards/allocation-guard.ts';
import { confirm } from '../guards/confirm.ts';
import { attach } from './attach.ts';
import { detach } from './detach.ts';

const MOUNT = { namespace: 'default', name: 'm1' };
const vgpu = {
  deviceType: 'VOLCANO_VGPU',
  resources: { [VGPU]: '1', 'volcano.sh/vgpu-memory': '2000', 'volcano.sh/vgpu-cores': '50' },
} as const;

let node: MemoryNode;
let slave: SlaveRef;
beforeEach(async () => {
  node = await MemoryNode.make();
  node.addGpus();
  for (const path of ['usr/local/vgpu/libvgpu.so', 'usr/local/vgpu/ld.so.preload', 'tmp/vgpulock/lock'])
    addHostFile(path);
  addHostFile('usr/local/vgpu/vgpu/containers/v1-uid_slave/x');
  addHostFile('usr/lib64/libcuda.so.550.54.15');
  slave = node.addVgpuSlave('v1', [UUIDS[1]]);
});
afterEach(() => node.remove());

function addHostFile(path: string): void {
  mkdirSync(join(node.hostRoot, dirname(path)), { recursive: true });
  writeFileSync(join(node.hostRoot, path), '');
}

const attachNow = (change = {}): Promise<AttachResult> =>
  attach(node.deps, attachInput(slave, { ...vgpu, ...change }), { signal: inTime() });
const textFiles = (): readonly string[] => readdirSync(join(node.stateDir, 'texts'));
const filesOfRecord = () => node.deps.store.get(MOUNT)?.devices[0]?.grant.files ?? [];

describe('attach() of a vGPU', () => {
  test('waits for no ids of what only says how much of it is wanted', async () => {
    expect((await attachNow()).devices).toMatchObject([{ id: UUIDS[1], resource: VGPU, slave: 'v1' }]);
    expect([...(node.engine.containers.get('c1') ?? [])]).toEqual([
      '/dev/nvidia0',
      '/dev/nvidiactl',
      '/dev/nvidia-uvm',
    ]);
  });

  test('is the same where the plugin gives ids to these, too', async () => {
    const memory = Array.from({ length: 2_000 }, (_, index) => `mem-${index}`);
    node.allocations.push({ ...allocationOf('volcano.sh/vgpu-memory', memory), podUid: slave.uid });
    expect((await attachNow()).devices).toHaveLength(1);
  });

  test('waits for the id of the vGPU itself', async () => {
    const [allocation] = node.allocations.splice(0);
    const attaching = attachNow();
    await node.deps.pods.get('default', 'v1');
    expect(node.deps.store.records()).toEqual([]);
    if (allocation !== undefined) node.allocations.push(allocation);
    node.changes.notify();
    expect((await attaching).devices).toHaveLength(1);
  });

  test('refuses what somebody has written on the slave in place of its scheduler', async () => {
    node.addPod({ name: 'v1', uid: slave.uid, annotations: { 'volcano.sh/vgpu-ids-new': vgpuWord([UUIDS[0]]) } });
    await expect(attachNow()).rejects.toMatchObject({ type: 'NotAllocated' });
    expect([...(node.engine.containers.get('c1') ?? [])]).toEqual([]);
  });

  test('is held by the kubelet under the id of its pick', async () => {
    await attachNow();
    const record = node.deps.store.get(MOUNT);
    if (record === undefined) throw new Error('no record');
    node.engine.containers.set('v1-uid-container', new Set());
    node.podResources.set('v1', new Map([[VGPU, ['GPU-0-v1-0']]]));
    await confirm(node.deps, record);
    node.podResources.set('v1', new Map([[VGPU, [UUIDS[1]]]]));
    await expect(confirm(node.deps, record)).rejects.toThrow('"GPU-0-v1-0" is attached, its slave has');

    const released: string[] = [];
    const guard = new AllocationGuard({
      deps: node.deps,
      release: (_mount, why) => void released.push(why),
      pollMs: 1,
    });
    await guard.look();
    expect(released).toEqual([]);
    node.allocations.push({ ...allocationOf(VGPU, ['GPU-0-v1-0']), podUid: 'other' });
    await guard.look();
    expect(released).toEqual([expect.stringContaining('to the pod other')]);
  });

  test('brings what limits it, and the driver only into a container that has none', async () => {
    await attachNow();
    const limits = ['/usr/local/vgpu/libvgpu.so', '/tmp/vgpu', '/tmp/vgpulock', '/etc/ld.so.preload', '/overrideEnv'];
    const paths = filesOfRecord().map(({ path }) => path);
    expect(new Set(paths)).toEqual(new Set([...limits, '/usr/lib/libcuda.so.550.54.15', '/usr/lib/libcuda.so.1']));
    await detach(node.deps, { mounts: [MOUNT], slaves: [slave], force: false });
    expect([...(node.engine.mounted.get('c1') ?? [])]).toEqual([]);

    node.engine.files = new Set(['/usr/lib64/libcuda.so.1']);
    slave = node.addVgpuSlave('v2', [UUIDS[0]], 'm2');
    addHostFile('usr/local/vgpu/vgpu/containers/v2-uid_slave/x');
    await attachNow({ name: 'm2' });
    expect(node.engine.mounted.get('c1')).toEqual(new Set(limits));
  });

  test('keeps the text of the limits for all to read as long as a mount has it', async () => {
    await attachNow();
    const { from = '' } = filesOfRecord().find(({ path }) => path === '/overrideEnv') ?? {};
    expect([readFileSync(from, 'utf8').split('\n')[0], statSync(from).mode & 0o777]).toEqual([
      'CUDA_DEVICE_MEMORY_LIMIT_0=2000m',
      0o444,
    ]);
    const { ino } = statSync(from);
    await node.restart();
    expect([await node.deps.store.textFile(readFileSync(from, 'utf8')), statSync(from).ino]).toEqual([from, ino]);
    await detach(node.deps, { mounts: [MOUNT], slaves: [slave], force: false });
    expect(textFiles()).toHaveLength(1);
    await node.restart();
    expect(existsSync(from)).toBe(false);
  });

  test('says so where nothing limits it', async () => {
    const { warnings } = await attachNow({ inject: 'none' });
    expect(warnings).toMatchObject([{ message: expect.stringMatching(/no \/usr\/local\/vgpu\/libvgpu\.so/) }]);
  });
});
