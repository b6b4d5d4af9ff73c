import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { SlaveRef } from '../../contract/device-mount.ts';
import type { AttachResult } from '../../contract/node-activities.ts';
import type { MountRequest } from '../../contract/requests.ts';
import {
  FUSE_RESOURCE,
  inTime,
  MemoryNode,
  mountRequest,
  restartContainer,
} from '../../test/node-worker/memory-node.ts';
import { UUIDS } from '../../test/node-worker/nvidia-tree.ts';
import { attach, attachAgain } from '../steps/attach.ts';
import { detach } from '../steps/detach.ts';

const GPU = { deviceType: 'NVIDIA_GPU', resources: { 'nvidia.com/gpu': '1' } } as const;
const LIBRARY = '/usr/lib64/libcuda.so.550.54.15';
const PLACE = '/usr/lib/libcuda.so.550.54.15';
const DRIVER = [PLACE, '/usr/lib/libcuda.so.1'];

let node: MemoryNode;
beforeEach(async () => {
  node = await MemoryNode.make();
  node.addGpus();
  addHostFile(LIBRARY);
});
afterEach(() => node.remove());

function addHostFile(path: string): void {
  mkdirSync(join(node.hostRoot, dirname(path)), { recursive: true });
  writeFileSync(join(node.hostRoot, path), '');
}

const mounted = (id = 'c1'): readonly string[] => [...(node.engine.mounted.get(id) ?? [])];
const mount = (slaves: readonly SlaveRef[], change: Partial<MountRequest> = {}): Promise<AttachResult> =>
  attach(node.deps, { signed: mountRequest(change), slaves }, { signal: inTime() });
const unmount = (slaves: readonly SlaveRef[], name = 'm1', device?: string) =>
  detach(node.deps, {
    mounts: [{ namespace: 'default', name }],
    slaves,
    force: false,
    ...(device !== undefined && { device }),
  });

describe('the files of a GPU', () => {
  test('come with it where the container has no driver, stay in the record, and go with it', async () => {
    const slave = node.addGpuSlave('g1', [UUIDS[0]]);
    const { warnings = [] } = await mount([slave], GPU);
    expect([mounted(), warnings, node.events]).toEqual([DRIVER, [], []]);
    const record = node.deps.store.get({ namespace: 'default', name: 'm1' });
    expect(record?.devices[0]?.grant.files).toMatchObject([
      { path: PLACE, from: `${node.hostRoot}${LIBRARY}`, name: 'made' },
      { kind: 'link' },
    ]);
    await node.restart();
    await unmount([slave]);
    expect(mounted()).toEqual([]);
  });

  test('are not mounted where the container has a driver, cannot be looked at, or nobody wants them', async () => {
    node.engine.files = new Set(['/usr/lib64/libcuda.so.1']);
    await mount([node.addGpuSlave('g1', [UUIDS[0]])], GPU);
    node.engine.files = undefined;
    await mount([node.addGpuSlave('g2', [UUIDS[1]], 'm2')], { ...GPU, name: 'm2' });
    node.engine.files = new Set();
    await mount([node.addGpuSlave('g3', [`${UUIDS[0]}::1`], 'm3')], { ...GPU, name: 'm3', inject: 'none' });
    expect(mounted()).toEqual([]);
  });

  test('are mounted all the same where the request says so', async () => {
    node.engine.files = new Set(['/usr/lib64/libcuda.so.1']);
    await mount([node.addGpuSlave('g1', [UUIDS[0]])], { ...GPU, inject: 'files' });
    expect(mounted()).toEqual(DRIVER);
  });

  test('that cannot be mounted are no reason to refuse the GPU, unless the request says so', async () => {
    node.engine.filesRefused = 'Cannot give "/x" to the container: its root file system is read-only';
    const slaves = [node.addGpuSlave('g1', [UUIDS[0]])];
    await expect(mount(slaves, { ...GPU, inject: 'files' })).rejects.toMatchObject({ type: 'ContainerUnsupported' });
    expect([...(node.engine.containers.get('c1') ?? [])]).toEqual([]);
    const { devices, warnings = [] } = await mount(slaves, GPU);
    const message = expect.stringMatching(/read-only[^]*libcuda\.so\.1/);
    expect([devices.length, warnings]).toEqual([1, [{ type: 'DriverFilesMissing', message }]]);
    expect(node.events).toEqual([expect.stringMatching(/^Pod web-0 DeviceNeedsMore: Mount m1: [^]*read-only/)]);
  });

  test('are shared by the devices of a split mount and by mounts, and go with the last', async () => {
    const slaves = UUIDS.map((uuid, index) => node.addGpuSlave(`web-0-slave-0123456789ab-${index}`, [uuid], 'm1'));
    await mount(slaves, { ...GPU, resources: { 'nvidia.com/gpu': '2' }, split: true });
    const other = node.addGpuSlave('g3', [`${UUIDS[0]}::1`], 'm2');
    await mount([other], { ...GPU, name: 'm2' });
    await unmount(slaves, 'm1', UUIDS[0]);
    expect(mounted()).toEqual(DRIVER);
    await unmount(slaves);
    expect(mounted()).toEqual(DRIVER);
    await unmount([other], 'm2');
    expect(mounted()).toEqual([]);
  });

  test('are mounted anew when the container restarts', async () => {
    await mount([node.addGpuSlave('g1', [UUIDS[0]])], GPU);
    restartContainer(node, 'c2');
    const record = node.deps.store.get({ namespace: 'default', name: 'm1' });
    if (record === undefined) throw new Error('no record');
    await attachAgain(node.deps, record, { signal: inTime() });
    expect(mounted('c2')).toEqual(DRIVER);
  });
});

describe('what a device plugin mounts', () => {
  test('comes with its devices only where the request says so', async () => {
    const slave = node.addSlave('s1');
    const mounts = [{ hostPath: '/opt/tool', containerPath: '/opt/in/tool', readOnly: false }];
    node.allocations = node.allocations.map((allocation) => ({ ...allocation, mounts }));
    addHostFile('/opt/tool');
    await mount([slave]);
    expect(mounted()).toEqual([]);
    await unmount([slave]);
    node.allocations = [];
    const again = node.addSlave('s2');
    node.allocations = node.allocations.map((allocation) => ({ ...allocation, mounts }));
    await mount([again], { inject: 'files', deadlineSeconds: 3_601 });
    expect(mounted()).toEqual(['/opt/in/tool']);
  });

  test('is each device’s own, and all of it goes with the mount', async () => {
    const slaves = [0, 1].map((index) => {
      const name = `web-0-slave-0123456789ab-${index}`;
      const slave = node.addSlave(name, [`/dev/fuse::${index}`]);
      addHostFile(`/opt/${index}`);
      const mounts = [{ hostPath: `/opt/${index}`, containerPath: `/opt/in/${index}`, readOnly: false }];
      node.allocations = node.allocations.map((one) => (one.podUid === slave.uid ? { ...one, mounts } : one));
      return slave;
    });
    await mount(slaves, { resources: { [FUSE_RESOURCE]: '2' }, split: true, inject: 'files' });
    expect(mounted()).toEqual(['/opt/in/0', '/opt/in/1']);
    await unmount(slaves);
    expect(mounted()).toEqual([]);
  });

  test('must be something where the request says so', async () => {
    const slave = node.addSlave('s1');
    await expect(mount([slave], { inject: 'files' })).rejects.toMatchObject({
      type: 'NotFound',
      message: expect.stringContaining('neither the device plugin nor a driver'),
    });
  });
});
