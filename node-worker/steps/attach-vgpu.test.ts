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

const EXPANSION = { 'device-mounter.io/expansion': ' True ' };
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
  addHostFile('usr/local/vgpu/libvgpu.so', "The version is different from the file's version");
  for (const path of ['usr/local/vgpu/ld.so.preload', 'tmp/vgpulock/lock']) addHostFile(path);
  addHostFile('usr/lib64/libcuda.so.550.54.15');
  slave = addSlave('v1', [UUIDS[1]]);
});
afterEach(() => node.remove());

function addHostFile(path: string, text = ''): void {
  mkdirSync(join(node.hostRoot, dirname(path)), { recursive: true });
  writeFileSync(join(node.hostRoot, path), text);
}

function addSlave(name: string, uuids: readonly string[], mount = 'm1'): SlaveRef {
  addHostFile(`usr/local/vgpu/vgpu/containers/${name}-uid_slave/x`);
  return node.addVgpuSlave(name, uuids, mount);
}

const attachNow = (change = {}): Promise<AttachResult> =>
  attach(node.deps, attachInput(slave, { ...vgpu, ...change }), { signal: inTime() });
const regionFiles = (): readonly string[] => readdirSync(join(node.stateDir, 'regions'));
const limits = (): readonly string[] =>
  (node.engine.limits.get('c1')?.limits ?? [])
    .map(({ gpu, memoryMiB, cores }) => `${gpu.slice(-2)} ${memoryMiB} ${cores}`)
    .toSorted();
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
    const core = ['/usr/local/vgpu/libvgpu.so', '/tmp/vgpulock', '/etc/ld.so.preload', '/tmp/cudevshr.cache'];
    const paths = filesOfRecord().map(({ path }) => path);
    expect(new Set(paths)).toEqual(new Set([...core, '/usr/lib/libcuda.so.550.54.15', '/usr/lib/libcuda.so.1']));
    await detach(node.deps, { mounts: [MOUNT], slaves: [slave], force: false });
    expect([...(node.engine.mounted.get('c1') ?? [])]).toEqual([]);

    node.engine.files = new Set(['/usr/lib64/libcuda.so.1']);
    slave = addSlave('v2', [UUIDS[0]], 'm2');
    await attachNow({ name: 'm2' });
    expect(node.engine.mounted.get('c1')).toEqual(new Set(core));
  });

  test('keeps the region for all to write as long as a mount of the container has it', async () => {
    await attachNow();
    const { from = '' } = filesOfRecord().find(({ path }) => path === '/tmp/cudevshr.cache') ?? {};
    const { ino, mode } = statSync(from);
    expect([regionFiles(), mode & 0o777, limits()]).toEqual([['c1'], 0o666, ['a1 2000 50']]);
    await node.restart();
    const two = addSlave('v2', [UUIDS[0]], 'm2');
    await attach(node.deps, attachInput(two, { ...vgpu, name: 'm2' }), { signal: inTime() });
    expect([statSync(from).ino, limits()]).toEqual([ino, ['a0 2000 50', 'a1 2000 50']]);
    await detach(node.deps, { mounts: [MOUNT], slaves: [slave], force: false });
    expect([statSync(from).ino, limits()]).toEqual([ino, ['a0 2000 50']]);
    await detach(node.deps, { mounts: [{ ...MOUNT, name: 'm2' }], slaves: [two], force: false });
    expect(node.engine.mounted.get('c1')).toEqual(new Set());
    slave = addSlave('v3', [UUIDS[0]], 'm3');
    await attachNow({ name: 'm3' });
    expect(statSync(from).ino).not.toBe(ino);
    await detach(node.deps, { mounts: [{ ...MOUNT, name: 'm3' }], slaves: [slave], force: false });
    await node.restart();
    expect(existsSync(from)).toBe(false);
  });

  test('passes on what HAMi-core still reads of a text, which stays as long as a mount has it', async () => {
    node.allocations = node.allocations.map((one) => ({
      ...one,
      envs: { ...one.envs, GPU_CORE_UTILIZATION_POLICY: 'disable' },
    }));
    await attachNow();
    const { from = '' } = filesOfRecord().find(({ path }) => path === '/overrideEnv') ?? {};
    const text = 'GPU_CORE_UTILIZATION_POLICY=disable\n';
    const { ino, mode } = statSync(from);
    expect([readFileSync(from, 'utf8'), mode & 0o777]).toEqual([text, 0o444]);
    await node.restart();
    expect([await node.deps.store.textFile(text), statSync(from).ino]).toEqual([from, ino]);
    await detach(node.deps, { mounts: [MOUNT], slaves: [slave], force: false });
    await node.restart();
    expect(existsSync(from)).toBe(false);
  });

  test('of a container that was started with one adds to its limits, in the region that it has', async () => {
    node.engine.files = new Set(['/usr/local/vgpu/libvgpu.so']);
    node.addOwnVgpu([UUIDS[1]]);
    await attachNow({ annotations: EXPANSION });
    expect([limits(), filesOfRecord()]).toEqual([['a1 3000 80'], []]);
    const folder = `${node.hostRoot}/usr/local/vgpu/vgpu/containers/web-uid_main`;
    expect(node.engine.limits.get('c1')?.region).toEqual({ folder, name: 'region.cache' });
    await node.restart();
    await detach(node.deps, { mounts: [MOUNT], slaves: [slave], force: false });
    expect(limits()).toEqual(['a1 1000 30']);
  });

  test('expands one that is mounted, and stays when that goes', async () => {
    await attachNow();
    const two = addSlave('v2', [UUIDS[1]], 'm2');
    const input = attachInput(two, { ...vgpu, name: 'm2', annotations: EXPANSION });
    await attach(node.deps, input, { signal: inTime() });
    expect(limits()).toEqual(['a1 4000 100']);
    await detach(node.deps, { mounts: [MOUNT], slaves: [slave], force: false });
    expect(limits()).toEqual(['a1 2000 50']);
  });

  test('ends together with one that nothing limits', async () => {
    await attachNow({ inject: 'none' });
    const two = addSlave('v2', [UUIDS[1]], 'm2');
    await attach(node.deps, attachInput(two, { ...vgpu, name: 'm2' }), { signal: AbortSignal.timeout(2_000) });
    expect(limits()).toEqual(['a1 2000 50']);
    const mounts = [MOUNT, { ...MOUNT, name: 'm2' }];
    await detach(node.deps, { mounts, slaves: [slave, two], force: false });
    expect(limits()).toEqual([]);
  });

  test.each([
    ['none', undefined, 'ContainerUnsupported', /main" by mount "m1": it has none/],
    ['another GPU', UUIDS[0], 'NotAllocated', /it is on \S+a0, the scheduler has chosen \S+a1/],
  ])('expands nothing in a container that has %s', async (_name, gpu, type, message) => {
    if (gpu !== undefined) node.addOwnVgpu([gpu]);
    const attaching = attachNow({ annotations: EXPANSION });
    await expect(attaching).rejects.toMatchObject({ type, message: expect.stringMatching(message) });
    expect([node.deps.store.records(), limits(), [...(node.engine.containers.get('c1') ?? [])]]).toEqual([[], [], []]);
  });

  test('expands nothing where nothing limits it', async () => {
    await attachNow({ inject: 'none' });
    slave = addSlave('v2', [UUIDS[1]], 'm2');
    node.addOwnVgpu([UUIDS[1]]);
    node.allocations = node.allocations.map((one) => (one.podUid === 'web-uid' ? { ...one, mounts: [] } : one));
    const attaching = attachNow({ name: 'm2', annotations: EXPANSION, inject: 'none' });
    await expect(attaching).rejects.toThrow('nothing that is known keeps its limits');
  });

  test('says so where nothing limits it', async () => {
    const { warnings } = await attachNow({ inject: 'none' });
    expect(warnings).toMatchObject([{ message: expect.stringMatching(/no \/usr\/local\/vgpu\/libvgpu\.so/) }]);
  });
});
