import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { DeviceMount } from '../../../contract/device-mount.ts';
import {
  LATER_ORIGINAL_BODY,
  ORIGINAL_BODY,
  ORIGINAL_EXPANSION_BODY,
  ORIGINAL_VGPU_BODY,
} from '../../apiserver/original-bodies.ts';
import { addVgpuFiles, removeVgpuFiles } from '../../device-plugin/vendor-files.ts';
import { FORMATS, Vgpus } from '../../device-plugin/vgpus.ts';
import { IMAGES } from '../../kernel/injected.ts';
import { UUIDS, UVM_MAJOR } from '../../node-worker/nvidia-tree.ts';
import { folderOf, VGPU } from '../../node-worker/vgpu.ts';
import { NODES } from '../cluster.ts';
import { type DeviceState, deviceState, restartContainer } from '../device-state.ts';
import { inPod } from '../exec.ts';
import { ask, failureIn, find, messageOf, send } from '../kube.ts';
import { kubectl, kubectlOk } from '../kubectl.ts';
import { laneNode, NAMESPACE } from '../lane.ts';
import { startLibraryPod, stdoutOf, treeOf } from '../library-pods.ts';
import { filesOf, nodeObject } from '../nodes.ts';
import { type Opens, opensOf } from '../opens.ts';
import { pathOf, podPath, slavesGone, slavesOf } from '../pods.ts';
import { expectNoPods, Targets } from '../targets.ts';
import { until } from '../until.ts';

/** Of each GPU. */
const MEMORY_MIB = 2_400;
/**
 * The driver's files say that its GPUs are two devices that every kernel has: so a process can really have one open. The kernel knows
 * none of the other nodes.
 */
const MISC = 10;
const GPUS = { [UUIDS[0]]: '/dev/nvidia229', [UUIDS[1]]: '/dev/nvidia237' } as const;
const NUMBERS = {
  '/dev/nvidia229': [MISC, 229],
  '/dev/nvidia237': [MISC, 237],
  '/dev/nvidiactl': [MISC, 255],
  '/dev/nvidia-uvm': [UVM_MAJOR, 0],
  '/dev/nvidia-uvm-tools': [UVM_MAJOR, 1],
} as const;
type Path = keyof typeof NUMBERS;

const node = laneNode();
const targets = new Targets();
const files = filesOf(node);
/** Each node has another scheduler. */
const format = (['volcano', 'fork', 'hami'] as const)[NODES.indexOf(node)] ?? 'volcano';
const vgpus = new Vgpus({
  gpus: { [UUIDS[0]]: MEMORY_MIB, [UUIDS[1]]: MEMORY_MIB },
  format,
  node: node.name,
  namespace: NAMESPACE,
  files,
  send,
});
let pod: string;
/** Of its container, without any device. */
let before: readonly [DeviceState, string];

beforeAll(async () => {
  addVgpuFiles(files, { minors: [229, 237], major: MISC }, NUMBERS);
  await vgpus.start();
  pod = await startLibraryPod(targets, node, IMAGES[0][2]);
  before = await stateNow();
  await until(`${node.name} to offer vGPUs`, async () => {
    const { allocatable = {} } = (await nodeObject(node.name))?.status ?? {};
    return [VGPU, 'volcano.sh/vgpu-memory'].every((resource) => Number(allocatable[resource]) > 0);
  });
});

// A failed test may leave something mounted. A slave that ends keeps its devices until it is gone.
afterEach(async () => {
  await send('PUT', pathOf(pod, 'unmount', '&force=1&wait_second=38', 'VOLCANO_VGPU'));
  await slavesGone(pod);
});

afterAll(async () => {
  try {
    await targets.remove();
    await expectNoPods();
  } finally {
    removeVgpuFiles(files);
    await vgpus.close();
  }
});

const stateNow = async (): Promise<readonly [DeviceState, string]> => [await deviceState(pod), await treeOf(pod)];
const load = (): Promise<string> => stdoutOf(pod, 'load libcuda.so.1');

/** What a program says that loads CUDA: its limits, and that the kernel has let it through to a driver that this machine does not have. */
const limited = (memory: number, cores: number): string =>
  `CUDA_DEVICE_MEMORY_LIMIT_0=${memory}m\nCUDA_DEVICE_MEMORY_SHARED_CACHE=/tmp/vgpu/region.cache\nCUDA_DEVICE_SM_LIMIT=${cores}\ncuInit 19`;
const NO_DRIVER = /libcuda\.so\.1/;

const opens = () => opensOf((line) => inPod(pod, line), NUMBERS);

/** The container can use these GPUs, with what each of them needs, and nothing else. */
function only(...gpus: readonly Path[]): Readonly<Record<string, Opens>> {
  const opened = (path: Path): Opens['node'] => {
    if (path === '/dev/nvidiactl') return 'ENODEV';
    return path.startsWith('/dev/nvidia-') ? 'ENXIO' : 'opened';
  };
  const isGiven = (path: Path): boolean => gpus.includes(path) || (gpus.length > 0 && opened(path) !== 'opened');
  const paths = Object.keys(NUMBERS) as Path[];
  return Object.fromEntries(
    paths.map((path) => [
      path,
      isGiven(path) ? { node: opened(path), rule: opened(path) } : { node: 'absent', rule: 'EPERM' },
    ]),
  );
}

/** The GPU of a mount of one vGPU. */
function gpuOf({ status }: DeviceMount): Path {
  const path = Object.entries(GPUS).find(([uuid]) => uuid === status.devices[0]?.id)?.[1];
  if (path === undefined || status.devices.length !== 1)
    throw new Error(`Cannot tell its GPU: ${JSON.stringify(status)}`);
  return path;
}

const mount = (measures: Readonly<Record<string, number>>, more: object = {}): Promise<DeviceMount> => {
  const resources = Object.fromEntries(Object.entries(measures).map(([name, many]) => [`volcano.sh/${name}`, many]));
  return ask('PUT', pathOf(pod, 'mount', '&wait_second=30', 'VOLCANO_VGPU'), { resources, ...more });
};
const unmountPath = ({ metadata }: DeviceMount, more = ''): string =>
  pathOf(pod, 'unmount', `&wait_second=30&mount=${metadata.name}${more}`, 'VOLCANO_VGPU');

const path = (): string => pathOf(pod, 'mount', '&container=main&wait_second=30', 'VOLCANO_VGPU');

describe('the bodies of the original’s pages', () => {
  test.each([
    ['with an expansion', ORIGINAL_BODY],
    ['with labels and a patch', LATER_ORIGINAL_BODY],
  ])('%s expand nothing in a container that has no vGPU', async (_name, body) => {
    const refused = await kubectl(['replace', '--raw', path(), '-f', '-'], body);
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringContaining('Cannot expand the vGPU of container "main"'),
    ]);
    expect(await stateNow()).toEqual(before);
  });

  test.each([
    ['with nothing else', ORIGINAL_VGPU_BODY, 1_024],
    ['with a misspelt key', ORIGINAL_EXPANSION_BODY, 1_024],
  ])('%s give a vGPU with the driver and its limits, as they stand there', async (_name, body, memory) => {
    expect(await load()).toMatch(NO_DRIVER);
    const mounted = JSON.parse(await kubectlOk(['replace', '--raw', path(), '-f', '-'], body)) as DeviceMount;
    expect([mounted.status.phase, mounted.status.warnings ?? []]).toEqual(['Mounted', []]);
    expect(await load()).toBe(limited(memory, 0));
    expect(await opens()).toEqual(only(gpuOf(mounted)));
    await ask('PUT', pathOf(pod, 'unmount', '&container=main&force=true&wait_second=30', 'VOLCANO_VGPU'));
    expect(await load()).toMatch(NO_DRIVER);
    expect(await stateNow()).toEqual(before);
  });
});

test('a vGPU that a process uses is taken by force only, and is in the container that takes the place of one', async () => {
  // Of cores and percents only the scheduler knows.
  const mounted = await mount(
    { 'vgpu-number': 1, 'vgpu-memory-percentage': 50, 'vgpu-cores': 30 },
    { onRestart: 'reapply' },
  );
  const limits = limited(MEMORY_MIB / 2, 30);
  const gpu = gpuOf(mounted);
  expect(await load()).toBe(limits);
  await expectScheduled(mounted);

  await restartContainer(pod);
  await until('the vGPU in the new container', async () => (await load()) === limits);
  expect(await opens()).toEqual(only(gpu));

  const holder = await stdoutOf(pod, `sleep 100000 3<>${gpu} >/dev/null 2>&1 & echo $!`);
  const busy = await send('PUT', unmountPath(mounted));
  expect([busy.status, failureIn(busy)]).toEqual([409, 'DeviceBusy']);
  expect(await load()).toBe(limits);
  await ask('PUT', unmountPath(mounted, '&force=1'));
  expect((await inPod(pod, `test -e /proc/${holder}/fd/3`)).code).toBe(1);
  expect(await opens()).toEqual(only());
  expect(await stateNow()).toEqual(before);
});

/** The program has counted and locked in the node's own folders, and the scheduler has said in its own way which GPU it has chosen. */
async function expectScheduled({ status }: DeviceMount): Promise<void> {
  const [slave = '', ...others] = await slavesOf(pod);
  const object = await find<{ metadata: { uid: string; annotations: Record<string, string> } }>(podPath(slave));
  const { uid = '', annotations = {} } = object?.metadata ?? {};
  expect(others).toEqual([]);
  expect(annotations[FORMATS[format].key]).toContain(`${status.devices[0]?.id},NVIDIA,${MEMORY_MIB / 2},30`);
  for (const file of [`${folderOf(uid)}/region.cache`, '/tmp/vgpulock/lock'])
    expect([file, existsSync(join(files, file))]).toEqual([file, true]);
}

test('two vGPUs in one container share the nodes of the driver, and the limits go with the first', async () => {
  const first = await mount({ 'vgpu-number': 1, 'vgpu-memory': 2_000 });
  const second = await mount({ 'vgpu-number': 1, 'vgpu-memory': 2_000 });
  const gpus = [gpuOf(first), gpuOf(second)] as const;
  expect(second.status.warnings).toMatchObject([
    { message: expect.stringMatching(/no files of the node are mounted/) },
  ]);
  expect(await opens()).toEqual(only(...gpus));
  expect(await load()).toBe(limited(2_000, 0));

  const third = await send('PUT', pathOf(pod, 'mount', '&wait_second=30', 'VOLCANO_VGPU'), {
    resources: { [VGPU]: 1, 'volcano.sh/vgpu-memory': 2_000 },
  });
  expect([third.status, failureIn(third)]).toEqual([409, 'InsufficientDevices']);
  expect(messageOf(third)).toContain(`Insufficient ${VGPU}`);

  await ask('PUT', unmountPath(first));
  expect(await opens()).toEqual(only(gpus[1]));
  expect(await load()).toMatch(NO_DRIVER);
  await ask('PUT', unmountPath(second));
  expect(await opens()).toEqual(only());
  expect(await stateNow()).toEqual(before);
});
