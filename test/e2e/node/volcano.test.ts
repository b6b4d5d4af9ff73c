import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { DeviceMount } from '../../../contract/device-mount.ts';
import { LATER_ORIGINAL_BODY, ORIGINAL_BODY } from '../../apiserver/original-bodies.ts';
import { addVgpuFiles, removeVgpuFiles } from '../../device-plugin/vendor-files.ts';
import { FORMATS, Vgpus } from '../../device-plugin/vgpus.ts';
import { buildHami } from '../../kernel/hami-core.ts';
import { IMAGES } from '../../kernel/injected.ts';
import { UUIDS, UVM_MAJOR } from '../../node-worker/nvidia-tree.ts';
import { VGPU } from '../../node-worker/vgpu.ts';
import { NODES } from '../cluster.ts';
import { type DeviceState, deviceState, restartContainer } from '../device-state.ts';
import { holdOpen, inPod } from '../exec.ts';
import { ask, failureIn, find, messageOf, send } from '../kube.ts';
import { kubectl, kubectlOk } from '../kubectl.ts';
import { laneNode, NAMESPACE } from '../lane.ts';
import { libraryImage, stdoutOf, treeOf } from '../library-pods.ts';
import { filesOf, nodeObject } from '../nodes.ts';
import { type Opens, opensOf } from '../opens.ts';
import { ORIGINAL_REQUESTS, OriginalUser } from '../original-guides.ts';
import { pathOf, podPath, slavesGone, slavesOf } from '../pods.ts';
import { expectNoPods, Targets } from '../targets.ts';
import { until } from '../until.ts';

/** Of each GPU, in the order in which the scheduler fills them. */
const MEMORY_MIB = { [UUIDS[0]]: 6_200, [UUIDS[1]]: 2_400 };
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
const user = new OriginalUser();
const files = filesOf(node);
/** Each node has another scheduler. */
const format = (['volcano', 'fork', 'hami'] as const)[NODES.indexOf(node)] ?? 'volcano';
const nodesOf = (uuids: readonly string[]) =>
  (Object.keys(NUMBERS) as Path[])
    .filter((path) => isShared(path) || uuids.some((uuid) => GPUS[uuid as keyof typeof GPUS] === path))
    .map((path) => ({ containerPath: path, hostPath: `/run/nvidia/driver${path}`, permissions: 'rw' }));
const vgpus = new Vgpus({ gpus: MEMORY_MIB, format, nodesOf, node: node.name, namespace: NAMESPACE, files, send });
/** Of pods as the original's guide has them. Its image has a program that sees the limits as HAMi-core does. */
let container: object;
let pod: string;
/** Of its container, without any device. */
let before: State;

beforeAll(async () => {
  addVgpuFiles(files, { minors: [229, 237], major: MISC }, NUMBERS);
  await vgpus.start();
  const image = await libraryImage(node, (root) => {
    IMAGES[0][2](root);
    buildHami(join(root, 'bin/hami'));
  });
  container = { name: 'ubuntu-container', image, imagePullPolicy: 'Never' };
  const env = [{ name: 'NVIDIA_VISIBLE_DEVICES', value: 'none' }];
  pod = await targets.start(node.name, { containers: [{ ...container, env }] });
  await user.create();
  before = await stateOf(pod);
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
    await user.remove();
    await expectNoPods();
  } finally {
    removeVgpuFiles(files);
    await vgpus.close();
  }
});

type State = readonly [DeviceState, string];
const stateOf = async (which: string): Promise<State> => [await deviceState(which), await treeOf(which)];
const load = (): Promise<string> => stdoutOf(pod, 'load libcuda.so.1');

/** What a program says that loads CUDA: its limits, and that the kernel has let it through to a driver that this machine does not have. */
const limited = (memory: number, cores = 100): string => `a0 ${memory} MiB ${cores} %\ncuInit 19`;
const NO_DRIVER = /libcuda\.so\.1/;

const opens = (which = pod) => opensOf((line) => inPod(which, line), NUMBERS);
const isShared = (path: Path): boolean => !Object.values<Path>(GPUS).includes(path);

/** The container can use these GPUs, with what each of them needs, and nothing else. */
function only(...gpus: readonly Path[]): Readonly<Record<string, Opens>> {
  const opened = (path: Path): Opens['node'] => {
    if (path === '/dev/nvidiactl') return 'ENODEV';
    return path.startsWith('/dev/nvidia-') ? 'ENXIO' : 'opened';
  };
  const isGiven = (path: Path): boolean => gpus.includes(path) || (gpus.length > 0 && isShared(path));
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
const unmountPath = ({ metadata }: DeviceMount, more = '', which = pod): string =>
  pathOf(which, 'unmount', `&wait_second=30&mount=${metadata.name}${more}`, 'VOLCANO_VGPU');

const mountPath = (which: string): string =>
  pathOf(which, 'mount', '&container=ubuntu-container&wait_second=30', 'VOLCANO_VGPU');
const requested = async (which: string, body: string): Promise<DeviceMount> =>
  JSON.parse(await kubectlOk(['replace', '--raw', mountPath(which), '-f', '-'], body)) as DeviceMount;
const isMounted = ({ status }: DeviceMount): void =>
  expect([status.phase, status.warnings ?? []]).toEqual(['Mounted', []]);

describe('the requests of the original’s pages', () => {
  test('give a container a vGPU with the driver and its limits, and take it away', async () => {
    expect(await load()).toMatch(NO_DRIVER);
    const mounted = await user.send<DeviceMount>(ORIGINAL_REQUESTS.mountVgpu, pod);
    isMounted(mounted);
    expect(await load()).toBe(limited(1_024));
    expect(await opens()).toEqual(only(gpuOf(mounted)));
    await user.unmount(ORIGINAL_REQUESTS.unmountVgpu, pod);
    expect(await load()).toMatch(NO_DRIVER);
    expect(await stateOf(pod)).toEqual(before);
  });

  test('expand nothing in a container that has no vGPU', async () => {
    const refused = await kubectl(['replace', '--raw', mountPath(pod), '-f', '-'], ORIGINAL_BODY);
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringContaining('Cannot expand the vGPU of container "ubuntu-container"'),
    ]);
    expect(await stateOf(pod)).toEqual(before);
  });

  test('expand the vGPU that a container was started with, for programs that run, too, and shrink it again', async () => {
    const limits = { 'volcano.sh/vgpu-number': 1, 'volcano.sh/vgpu-memory': 1_024 };
    const own = await targets.start(node.name, {
      nodeName: undefined,
      schedulerName: 'volcano',
      containers: [{ ...container, resources: { limits } }],
    });
    const [gpu, hami] = [GPUS[UUIDS[0]], () => stdoutOf(own, 'hami')];
    const seen = (memory: number) =>
      stdoutOf(own, `until busybox grep -q '^a0 ${memory} ' /watched; do sleep 0.02; done`);
    const alone = await stateOf(own);
    expect([await hami(), await opens(own)]).toEqual(['a0 1024 MiB 100 %', only(gpu)]);
    await stdoutOf(own, 'hami watch >>/watched 2>&1 &');
    isMounted(await user.send(ORIGINAL_REQUESTS.expandVgpu, own));
    await seen(2_048);
    const second = await requested(own, ORIGINAL_BODY);
    isMounted(second);
    await seen(4_048);
    await stdoutOf(own, ': >/watched');
    await ask('PUT', unmountPath(second, '', own));
    await seen(2_048);
    isMounted(await requested(own, LATER_ORIGINAL_BODY));
    expect([await hami(), await opens(own)]).toEqual(['a0 4048 MiB 100 %', only(gpu)]);

    // The new container has the limits of its start again.
    await stdoutOf(own, 'rm /tmp/vgpu/region.cache');
    await restartContainer(own);
    await until('the larger limits in the new container', async () => (await hami()) === 'a0 4048 MiB 100 %');
    await user.unmount(ORIGINAL_REQUESTS.unmountVgpu, own);
    expect([await hami(), await opens(own)]).toEqual(['a0 1024 MiB 100 %', only(gpu)]);
    expect(await stateOf(own)).toEqual(alone);
    await slavesGone(own);
  });
});

test('a vGPU that a process uses is taken by force only, and is in the container that takes the place of one', async () => {
  // Of cores and percents only the scheduler knows.
  const mounted = await mount(
    { 'vgpu-number': 1, 'vgpu-memory-percentage': 50, 'vgpu-cores': 30 },
    { onRestart: 'reapply' },
  );
  const limits = limited(MEMORY_MIB[UUIDS[0]] / 2, 30);
  const gpu = gpuOf(mounted);
  expect(await load()).toBe(limits);
  await expectScheduled(mounted);

  await restartContainer(pod);
  await until('the vGPU in the new container', async () => (await load()) === limits);
  expect(await opens()).toEqual(only(gpu));

  const holder = await holdOpen(pod, gpu);
  const busy = await send('PUT', unmountPath(mounted));
  expect([busy.status, failureIn(busy)]).toEqual([409, 'DeviceBusy']);
  expect(await load()).toBe(limits);
  await ask('PUT', unmountPath(mounted, '&force=1'));
  expect((await inPod(pod, `test -e /proc/${holder}/fd/3`)).code).toBe(1);
  expect(await opens()).toEqual(only());
  expect(await stateOf(pod)).toEqual(before);
});

/** The program has locked in the node's own folder, and the scheduler has said in its own way which GPU it has chosen. */
async function expectScheduled({ status }: DeviceMount): Promise<void> {
  const [slave = '', ...others] = await slavesOf(pod);
  const object = await find<{ metadata: { annotations: Record<string, string> } }>(podPath(slave));
  const { annotations = {} } = object?.metadata ?? {};
  expect(others).toEqual([]);
  expect(annotations[FORMATS[format].key]).toContain(`${status.devices[0]?.id},NVIDIA,${MEMORY_MIB[UUIDS[0]] / 2},30`);
  expect(existsSync(join(files, '/tmp/vgpulock/lock'))).toBe(true);
}

test('two vGPUs in one container share the nodes and files of the driver, which go with the last', async () => {
  const share = { 'vgpu-number': 1, 'vgpu-memory': 2_000 };
  const first = await mount(share);
  const second = await mount(share, { annotations: { 'nvidia.com/nouse-gpuuuid': UUIDS[0] } });
  const gpus = [gpuOf(first), gpuOf(second)] as const;
  expect([first, second].flatMap(({ status }) => status.warnings ?? [])).toEqual([]);
  expect(await opens()).toEqual(only(...gpus));
  expect(await load()).toBe(`a0 2000 MiB 100 %\na1 2000 MiB 100 %\ncuInit 19`);

  const third = await send('PUT', pathOf(pod, 'mount', '&wait_second=30', 'VOLCANO_VGPU'), {
    resources: { [VGPU]: 1, 'volcano.sh/vgpu-memory': 4_300 },
  });
  expect([third.status, failureIn(third)]).toEqual([409, 'InsufficientDevices']);
  expect(messageOf(third)).toContain(`Insufficient ${VGPU}`);

  await ask('PUT', unmountPath(first));
  expect(await opens()).toEqual(only(gpus[1]));
  expect(await load()).toMatch(/^a1 2000 MiB 100 %\ncuInit 19$/m);
  await ask('PUT', unmountPath(second));
  expect(await opens()).toEqual(only());
  expect(await load()).toMatch(NO_DRIVER);
  expect(await stateOf(pod)).toEqual(before);
});
