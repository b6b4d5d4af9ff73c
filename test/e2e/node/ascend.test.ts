import { isDeepStrictEqual } from 'node:util';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { DeviceMount } from '../../../contract/device-mount.ts';
import { BY_VOLCANO, Npus, SHARED, VIRTUAL, WHOLE } from '../../device-plugin/npus.ts';
import { addNpuFiles, npuTree, removeNpuFiles } from '../../device-plugin/vendor-files.ts';
import { IMAGES } from '../../kernel/injected.ts';
import { NODES } from '../cluster.ts';
import { type DeviceState, deviceState, mountsIn, restartContainer } from '../device-state.ts';
import { holdOpen, inPod } from '../exec.ts';
import { ask, failureIn, find, send } from '../kube.ts';
import { laneNode, NAMESPACE } from '../lane.ts';
import { libraryImage, stdoutOf, treeOf } from '../library-pods.ts';
import { filesOf, nodeObject } from '../nodes.ts';
import { type Opens, opensOf } from '../opens.ts';
import { ORIGINAL_REQUESTS, OriginalUser } from '../original-guides.ts';
import { pathOf, podPath, slavesGone, slavesOf } from '../pods.ts';
import { expectNoPods, Targets } from '../targets.ts';
import { until } from '../until.ts';

const node = laneNode();
const targets = new Targets();
const user = new OriginalUser();
const files = filesOf(node);
const tree = npuTree(NODES.indexOf(node), node.name);
const [first, second] = tree.npus;
const [ONE, OTHER, PART] = [`/dev/davinci${first}`, `/dev/davinci${second}`, `/dev/davinci${tree.virtual}`];
/** The first is a device that every kernel has, so that a process can really have it open. */
const OPENED = { [ONE]: [10, 229] } as const;
const NUMBERS = { ...tree.numbers, ...OPENED };
const MANAGERS = Object.values(SHARED).map((name) => `/dev/${name}`);

const double = new Npus({ ...tree, node: node.name, namespace: NAMESPACE, files, send });
let image: string;
let pod: string;
/** Of its container, without any device. */
let before: State;

beforeAll(async () => {
  addNpuFiles(files, tree, OPENED);
  await double.start();
  image = await libraryImage(node, IMAGES[0][2]);
  pod = await targets.start(node.name, { containers: [{ name: 'main', image, imagePullPolicy: 'Never' }] });
  before = await stateOf(pod);
  await until(`${node.name} to offer NPUs`, async () => {
    const { allocatable = {} } = (await nodeObject(node.name))?.status ?? {};
    return [WHOLE, VIRTUAL, BY_VOLCANO].every((resource) => Number(allocatable[resource]) > 0);
  });
});

// A failed test may leave something mounted. A slave that ends keeps its devices until it is gone.
afterEach(async () => {
  await send('PUT', pathOf(pod, 'unmount', '&force=1&wait_second=38', 'ASCEND_NPU'));
  await slavesGone(pod);
});

afterAll(async () => {
  try {
    await targets.remove();
    await user.remove();
    await expectNoPods();
  } finally {
    removeNpuFiles(files, tree);
    await double.close();
  }
});

type State = readonly [DeviceState, string, readonly string[]];
const stateOf = async (which: string): Promise<State> => [
  await deviceState(which),
  await treeOf(which),
  await mountsIn(which),
];

const LIBRARIES = '/usr/local/Ascend/driver/lib64/driver';
const load = (which = pod): Promise<string> => stdoutOf(which, `LD_LIBRARY_PATH=${LIBRARIES} load libascend_hal.so`);
/** The kernel has let it through to a driver that this machine does not have. */
const LOADED = 'cuInit 6';
const NO_DRIVER = /cannot open shared object/;

const opens = (which = pod) => opensOf((line) => inPod(which, line), NUMBERS);

/** The container can use these NPUs, with the nodes that they share, and nothing else. */
function only(...paths: readonly string[]): Readonly<Record<string, Opens>> {
  const given = paths.length === 0 ? [] : [...paths, ...MANAGERS];
  const opensOfOne = (path: string): Opens => {
    if (!given.includes(path)) return { node: 'absent', rule: 'EPERM' };
    return path === ONE ? { node: 'opened', rule: 'opened' } : { node: 'ENXIO', rule: 'ENXIO' };
  };
  return Object.fromEntries(Object.keys(NUMBERS).map((path) => [path, opensOfOne(path)]));
}

const mount = (resource: string, count: number, more: object = {}): Promise<DeviceMount> =>
  ask('PUT', pathOf(pod, 'mount', '&wait_second=30', 'ASCEND_NPU'), { resources: { [resource]: count }, ...more });
const unmountPath = ({ metadata }: DeviceMount, more = ''): string =>
  pathOf(pod, 'unmount', `&wait_second=30&mount=${metadata.name}${more}`, 'ASCEND_NPU');

test('NPUs of two mounts, whole and virtual, share nodes and driver until the last is taken', async () => {
  expect(await load()).toMatch(NO_DRIVER);
  const whole = await mount(WHOLE, 2, { split: true, onRestart: 'reapply' });
  expect(whole.status.warnings ?? []).toEqual([]);
  expect(await opens()).toEqual(only(ONE, OTHER));
  expect(await load()).toBe(LOADED);
  expect((await inPod(pod, `echo >${LIBRARIES}/libascend_hal.so`)).stderr).toContain('Read-only file system');

  await restartContainer(pod);
  await until('the NPUs in the new container', async () => isDeepStrictEqual(await opens(), only(ONE, OTHER)));
  await until('the driver in the new container', async () => (await load()) === LOADED);
  const part = await mount(VIRTUAL, 1);
  expect(await opens()).toEqual(only(ONE, OTHER, PART));

  const holder = await holdOpen(pod, ONE);
  await ask('PUT', unmountPath(whole, `&device=Ascend910-${second}`));
  expect(await opens()).toEqual(only(ONE, PART));
  const busy = await send('PUT', unmountPath(whole));
  expect([busy.status, failureIn(busy)]).toEqual([409, 'DeviceBusy']);
  expect(await opens()).toEqual(only(ONE, PART));
  await ask('PUT', unmountPath(whole, '&force=1'));
  expect((await inPod(pod, `test -e /proc/${holder}/fd/3`)).code).toBe(1);

  expect(await opens()).toEqual(only(PART));
  expect(await load()).toBe(LOADED);
  await ask('PUT', unmountPath(part));
  expect(await opens()).toEqual(only());
  expect(await load()).toMatch(NO_DRIVER);
  expect(await stateOf(pod)).toEqual(before);
});

test('under Volcano the NPU is the one that the scheduler has chosen, and not the one that the kubelet has picked', async () => {
  const patches = [{ op: 'replace', path: '/spec/schedulerName', value: 'volcano' }];
  const mounted = await mount(BY_VOLCANO, 1, { patches });
  expect(await opens()).toEqual(only(OTHER));
  const [slave = ''] = await slavesOf(pod);
  const object = await find<{ metadata: { annotations: object } }>(podPath(slave));
  const [picked, real] = [`Ascend310P-${first}`, `Ascend310P-${second}`];
  expect(object?.metadata.annotations).toMatchObject({ 'huawei.com/kltDev': picked, 'huawei.com/AscendReal': real });
  const [device] = mounted.status.devices;
  expect([device?.id, device?.nodes.map(({ path }) => path)]).toEqual([picked, expect.arrayContaining([OTHER])]);
  await ask('PUT', unmountPath(mounted));
  expect(await opens()).toEqual(only());
  expect(await stateOf(pod)).toEqual(before);
});

test('the request of the original’s guide mounts an NPU in its container, which has the driver as a volume', async () => {
  const path = '/usr/local/Ascend/driver';
  const volumeMounts = [{ name: 'driver', mountPath: path }];
  const guided = await targets.start(node.name, {
    containers: [{ name: 'default', image, imagePullPolicy: 'Never', volumeMounts }],
    volumes: [{ name: 'driver', hostPath: { path, type: 'Directory' } }],
  });
  const alone = await stateOf(guided);
  await user.create();
  const { status } = await user.send<DeviceMount>(ORIGINAL_REQUESTS.mountNpu, guided);
  expect([status.phase, status.warnings ?? []]).toEqual(['Mounted', []]);
  expect(await opens(guided)).toEqual(only(`/dev/davinci${status.devices[0]?.id.split('-')[1]}`));
  expect(await load(guided)).toBe(LOADED);
  await ask('PUT', pathOf(guided, 'unmount', '&wait_second=30', 'ASCEND_NPU'));
  expect(await stateOf(guided)).toEqual(alone);
  await slavesGone(guided);
});
