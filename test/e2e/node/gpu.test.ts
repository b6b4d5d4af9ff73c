import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { DeviceMount } from '../../../contract/device-mount.ts';
import type { DeviceTypeName } from '../../../contract/device-types.ts';
import { ForeignPlugin, type Offered } from '../../device-plugin/foreign-plugin.ts';
import { addDriver, addDriverNodes, DRIVER_NODES, requireNoDriver, UUIDS } from '../../node-worker/nvidia-tree.ts';
import { type DeviceState, deviceState, restartContainer } from '../device-state.ts';
import { canOpen, holdOpen, inPod } from '../exec.ts';
import { ask, failureIn, messageOf, send } from '../kube.ts';
import { laneNode } from '../lane.ts';
import { filesOf, nodeObject } from '../nodes.ts';
import { type Opens, opensOf } from '../opens.ts';
import { busybox, deletePod, eventsOf, FUSE, mountOk, pathOf, slavesGone, unmount } from '../pods.ts';
import { expectNoPods, Targets } from '../targets.ts';
import { until } from '../until.ts';

const GPU = 'nvidia.com/gpu';
const SHARED = 'nvidia.com/gpu.shared';
const SPECS = 'example.com/specs';
const CDI = 'example.com/cdi';
const BOTH = 'example.com/both';
const MOUNTS = 'example.com/mounts';

/** Each device plugin grants its devices by another part of its answer; NVIDIA's, by default, by the environment. */
const OFFERED: readonly Offered[] = [
  { resource: GPU, ids: UUIDS, grant: (ids) => ({ envs: { NVIDIA_VISIBLE_DEVICES: ids.join(',') } }) },
  {
    resource: SHARED,
    ids: [`${UUIDS[0]}::0`],
    grant: () => ({ devices: ['/dev/nvidia1', '/dev/nvidiactl'].map(ofDriver) }),
  },
  { resource: SPECS, ids: ['/dev/fuse'], grant: () => ({ devices: [fuseAt('/dev/by-specs')] }) },
  { resource: CDI, ids: ['cdi'], grant: () => ({ cdiDevices: [{ name: 'example.com/device=cdi' }] }) },
  {
    resource: BOTH,
    ids: ['both'],
    grant: () => ({ devices: [fuseAt('/dev/by-both')], cdiDevices: [{ name: 'example.com/device=both' }] }),
  },
  {
    resource: MOUNTS,
    ids: ['mounts'],
    grant: () => ({ mounts: [{ containerPath: '/opt/licence', hostPath: '/run/nvidia', readOnly: true }] }),
  },
];

const ofDriver = (path: string) => ({
  containerPath: path,
  hostPath: join('/run/nvidia/driver', path),
  permissions: 'rw',
});
const fuseAt = (containerPath: string) => ({ containerPath, hostPath: '/dev/fuse', permissions: 'rw' });
/** Of no driver, and allowed to no container: runc allows /dev/net/tun to all. */
const DRIVERLESS = { path: '/dev/by-cdi', type: 'c', major: 195, minor: 42, permissions: 'rw' };
const TUN = { path: '/dev/by-both', hostPath: '/dev/net/tun', permissions: 'rw' };
const CDI_SPEC = {
  cdiVersion: '0.6.0',
  kind: 'example.com/device',
  devices: [
    { name: 'cdi', containerEdits: { deviceNodes: [DRIVERLESS] } },
    { name: 'both', containerEdits: { deviceNodes: [TUN] } },
  ],
};

/** Where each GPU is, by the driver's files. */
const PATHS = new Map<string, string>([
  [UUIDS[0], '/dev/nvidia1'],
  [UUIDS[1], '/dev/nvidia0'],
]);
const CONTROL = ['/dev/nvidiactl', '/dev/nvidia-uvm', '/dev/nvidia-uvm-tools', '/dev/nvidia-modeset'];

const node = laneNode();
const targets = new Targets();
const files = filesOf(node);
const driver = join(files, 'run/nvidia/driver');
const cdiSpec = join(files, 'etc/cdi/e2e-test.json');
let plugins: readonly ForeignPlugin[] = [];
let pod: string;
/** Of its container, without any device. */
let before: DeviceState;

beforeAll(async () => {
  requireNoDriver();
  removeFiles();
  addDriver(driver);
  addDriverNodes(driver);
  mkdirSync(dirname(cdiSpec), { recursive: true });
  writeFileSync(cdiSpec, JSON.stringify(CDI_SPEC));
  plugins = OFFERED.map((offered) => new ForeignPlugin(join(files, 'var/lib/kubelet/device-plugins'), offered));
  for (const plugin of plugins) await plugin.start();
  pod = await targets.start(node.name);
  before = await deviceState(pod);
  await until(`${node.name} to offer the devices`, async () => {
    const { allocatable = {} } = (await nodeObject(node.name))?.status ?? {};
    return OFFERED.every(({ resource, ids }) => allocatable[resource] === String(ids.length));
  });
});

// A failed test may leave something mounted. A slave that ends keeps its devices until it is gone.
afterEach(async () => {
  await Promise.all([unmountAll('NVIDIA_GPU'), unmountAll('GENERIC')]);
  await slavesGone(pod);
});

afterAll(async () => {
  try {
    await targets.remove();
    await expectNoPods();
  } finally {
    for (const plugin of plugins) plugin.close();
    removeFiles();
  }
});

function removeFiles(): void {
  for (const file of [driver, cdiSpec]) rmSync(file, { recursive: true, force: true });
}

const mountPath = (type: DeviceTypeName): string => pathOf(pod, 'mount', '&wait_second=30', type);
const oneOf = (...resources: readonly string[]) => ({
  resources: Object.fromEntries(resources.map((resource) => [resource, '1'])),
});

const unmountAll = (type: DeviceTypeName) => send('PUT', pathOf(pod, 'unmount', '&force=1&wait_second=38', type));

async function unmountOk({ metadata, spec }: DeviceMount): Promise<void> {
  await ask('PUT', pathOf(pod, 'unmount', `&wait_second=30&mount=${metadata.name}`, spec.deviceType));
}

/** Mounts whichever GPU the kubelet takes; answers its path as well. */
async function mountGpu(body: object = {}): Promise<readonly [DeviceMount, string]> {
  const mounted = await ask<DeviceMount>('PUT', mountPath('NVIDIA_GPU'), { ...oneOf(GPU), ...body });
  const [{ id, nodes } = { id: '', nodes: [] }, ...others] = mounted.status.devices;
  const path = PATHS.get(id) ?? 'a node of its own';
  expect([nodes.map((one) => one.path), others]).toEqual([[path, ...CONTROL], []]);
  return [mounted, path];
}

const opensOfDriver = (of = pod) => opensOf((line) => inPod(of, line), DRIVER_NODES);

/** The container can use these of the driver's nodes, and no others. Opens end in ENXIO: the kernel has no such driver. */
function only(...paths: readonly string[]): Readonly<Record<string, Opens>> {
  const opens = (path: string): Opens =>
    paths.includes(path) ? { node: 'ENXIO', rule: 'ENXIO' } : { node: 'absent', rule: 'EPERM' };
  return Object.fromEntries(Object.keys(DRIVER_NODES).map((path) => [path, opens(path)]));
}

test('GPUs that are named in the environment only open while mounted, and control nodes as long as one of them is', async () => {
  const [first, path] = await mountGpu();
  expect(await opensOfDriver()).toEqual(only(path, ...CONTROL));
  const [second, otherPath] = await mountGpu();
  expect(otherPath).not.toBe(path);
  expect(await opensOfDriver()).toEqual(only(path, otherPath, ...CONTROL));
  await unmountOk(first);
  expect(await opensOfDriver()).toEqual(only(otherPath, ...CONTROL));
  await unmountOk(second);
  expect(await opensOfDriver()).toEqual(only());
  expect(await deviceState(pod)).toEqual(before);
  await until('an Event to tell of the missing libraries', async () =>
    (await eventsOf(first.spec.podUid, 'DeviceNeedsMore')).join().includes('libcuda.so.1'),
  );
});

test('a GPU and its control nodes are in the container that takes the place of one, and go with the mount', async () => {
  const [mounted, path] = await mountGpu({ onRestart: 'reapply' });
  await restartContainer(pod);
  await until('the GPU in the new container', async () =>
    isDeepStrictEqual(await opensOfDriver(), only(path, ...CONTROL)),
  );
  await unmountOk(mounted);
  expect(await opensOfDriver()).toEqual(only());
  expect(await deviceState(pod)).toEqual(before);
});

test('the GPU and the control node that a container had itself stay when a GPU is mounted and given back', async () => {
  const limits = { [SHARED]: '1' };
  const owner = await targets.start(node.name, {
    containers: [busybox(['sleep', '100000'], { resources: { limits } })],
  });
  const own = await deviceState(owner);
  const ownOpens = only('/dev/nvidia1', '/dev/nvidiactl');
  expect(await opensOfDriver(owner)).toEqual(ownOpens);
  const mounted = await ask<DeviceMount>('PUT', pathOf(owner, 'mount', '&wait_second=30', 'NVIDIA_GPU'), oneOf(GPU));
  const path = PATHS.get(mounted.status.devices[0]?.id ?? '') ?? 'a node of its own';
  expect(await opensOfDriver(owner)).toEqual(only('/dev/nvidia1', path, ...CONTROL));
  await ask('PUT', pathOf(owner, 'unmount', '&wait_second=30', 'NVIDIA_GPU'));
  expect(await opensOfDriver(owner)).toEqual(ownOpens);
  expect(await deviceState(owner)).toEqual(own);
  await deletePod(owner);
});

test('a GENERIC device that a process uses is taken by force only', async () => {
  await ask('PUT', mountPath('GENERIC'), oneOf(SPECS));
  const holder = await holdOpen(pod, '/dev/by-specs');
  const busy = await send('PUT', pathOf(pod, 'unmount', '&wait_second=30', 'GENERIC'));
  expect([busy.status, failureIn(busy)]).toEqual([409, 'DeviceBusy']);
  expect(await canOpen(pod, '/dev/by-specs')).toBe(true);
  expect((await unmountAll('GENERIC')).status).toBe(200);
  expect((await inPod(pod, `test -e /proc/${holder}/fd/3`)).code).toBe(1);
  expect(await deviceState(pod)).toEqual(before);
});

test('a device that the container had itself stays when the same one is mounted and given back', async () => {
  const limits = { [SPECS]: '1' };
  const owner = await targets.start(node.name, {
    containers: [busybox(['sleep', '100000'], { resources: { limits } })],
  });
  const own = await deviceState(owner);
  await mountOk(owner, FUSE, '&wait_second=30');
  expect(await canOpen(owner, '/dev/fuse')).toBe(true);
  expect((await unmount(owner, '&wait_second=30')).status).toBe(200);
  expect(await canOpen(owner, '/dev/by-specs')).toBe(true);
  expect(await deviceState(owner)).toEqual(own);
  await deletePod(owner);
});

test('GENERIC devices that are granted by device specs and by CDI names open while mounted', async () => {
  const numbers = { '/dev/by-specs': [10, 229], '/dev/by-cdi': [195, 42] } as const;
  const opens = () => opensOf((line) => inPod(pod, line), numbers);
  const mounted = await ask<DeviceMount>('PUT', mountPath('GENERIC'), oneOf(SPECS, CDI));
  const [opened, driverless] = [
    { node: 'opened', rule: 'opened' },
    { node: 'ENXIO', rule: 'ENXIO' },
  ];
  expect(await opens()).toEqual({ '/dev/by-specs': opened, '/dev/by-cdi': driverless });
  await unmountOk(mounted);
  const gone = { node: 'absent', rule: 'EPERM' };
  expect(await opens()).toEqual({ '/dev/by-specs': gone, '/dev/by-cdi': gone });
  expect(await deviceState(pod)).toEqual(before);
});

test.each([
  [
    'whose device specs and CDI spec differ',
    BOTH,
    'the device plugin names /dev/by-both (c 10:229 rw), CDI spec /etc/cdi/e2e-test.json names /dev/by-both (c 10:200 rw)',
  ],
  ['that only have mounts', MOUNTS, 'has granted no device node, only mount /opt/licence'],
])('GENERIC devices %s are refused', async (_name, resource, message) => {
  const refused = await send('PUT', mountPath('GENERIC'), oneOf(resource));
  expect([refused.status, failureIn(refused)]).toEqual([403, 'NotAllocated']);
  expect(messageOf(refused)).toContain(message);
  expect(await deviceState(pod)).toEqual(before);
});
