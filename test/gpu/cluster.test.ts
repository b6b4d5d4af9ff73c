import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { DeviceMount } from '../../contract/device-mount.ts';
import { quoted } from '../../deploy/local/node/namespace.ts';
import type { Server } from '../../deploy/local/server.ts';
import { ensureTool } from '../../deploy/local/tools/on-demand.ts';
import { NVIDIA_DEVICE_PLUGIN } from '../../deploy/local/tools/table.ts';
import { type DeviceState, deviceState, mountsIn } from '../e2e/device-state.ts';
import { inPod } from '../e2e/exec.ts';
import { failureIn, find, messageOf, send } from '../e2e/kube.ts';
import { nodeAt, nodeObject } from '../e2e/nodes.ts';
import { foreignServer } from '../e2e/plugins/foreign.ts';
import { pathOf, slavesGone } from '../e2e/pods.ts';
import { expectNoPods, Targets } from '../e2e/targets.ts';
import { until } from '../e2e/until.ts';
import type { Asked } from './cuda.ts';
import { gpusHere } from './gpus.ts';

const GPU = 'nvidia.com/gpu';
const SHARED = 'nvidia.com/gpu.shared';
/** Two shares of each GPU (k8s-device-plugin, "Shared Access to GPUs"). */
const TIME_SLICING = {
  version: 'v1',
  sharing: { timeSlicing: { renameByDefault: true, resources: [{ name: GPU, replicas: 2 }] } },
};
const HELD = '/tmp/held.json';
const UUIDS = gpusHere();

const node = nodeAt(1);
const targets = new Targets();
const script = quoted(readFileSync(join(import.meta.dirname, 'cuda.ts'), 'utf8'));
let plugin: Server | undefined;
let pod: string;
/** Of its container, without a GPU. */
let before: { readonly devices: DeviceState; readonly mounts: readonly string[] };

const stateOf = async (): Promise<typeof before> => ({ devices: await deviceState(pod), mounts: await mountsIn(pod) });

/** The shell line that runs cuda.ts where koffi is: in the image of the product. */
const cuda = (...words: readonly string[]): string =>
  ['node --no-warnings --input-type=module-typescript --eval', script, ...words].join(' ');

async function asked(of = pod): Promise<Asked> {
  const { stdout, stderr } = await inPod(of, cuda());
  if (stdout === '') throw new Error(`Cannot ask CUDA: ${stderr}`);
  return JSON.parse(stdout) as Asked;
}

const offers = (resource: string, count: number): Promise<unknown> =>
  until(`${node.name} to offer ${count} of ${resource}`, async () => {
    const { allocatable = {} } = (await nodeObject(node.name))?.status ?? {};
    return Number(allocatable[resource] ?? 0) === count;
  });

async function startPlugin(...args: readonly string[]): Promise<void> {
  // It runs in no container: the driver's files are where they are.
  plugin = await foreignServer(node, NVIDIA_DEVICE_PLUGIN, ['--driver-root-ctr-path=/', ...args]);
  plugin.start();
}

/** Libraries and programs of any vendor are not in it, as in most images. */
async function productImage(): Promise<string> {
  const path = '/apis/apps/v1/namespaces/device-mounter/daemonsets/device-mounter-node';
  const daemonSet = await find<{ spec: { template: { spec: { containers: { image: string }[] } } } }>(path);
  return daemonSet?.spec.template.spec.containers[0]?.image ?? '';
}

async function startTarget(): Promise<string> {
  const container = { name: 'main', image: await productImage(), imagePullPolicy: 'Never' };
  const volumeMounts = [{ name: 'tmp', mountPath: '/tmp' }];
  return await targets.start(node.name, {
    containers: [{ ...container, command: ['sleep', '100000'], volumeMounts }],
    volumes: [{ name: 'tmp', emptyDir: {} }],
  });
}

beforeEach(async () => {
  pod = await startTarget();
  before = await stateOf();
});

afterEach(async () => {
  await targets.remove();
  await plugin?.stop('SIGTERM');
  await Promise.all([offers(GPU, 0), offers(SHARED, 0)]);
});
afterAll(expectNoPods);

const mount = (resource = GPU, of = pod) =>
  send('PUT', pathOf(of, 'mount', '&wait_second=30', 'NVIDIA_GPU'), { resources: { [resource]: '1' } });
const unmount = (query = '') => send('PUT', pathOf(pod, 'unmount', `&wait_second=30${query}`, 'NVIDIA_GPU'));

describe.each([
  ['the environment', ['--device-list-strategy=envvar']],
  ['the environment and device specs', ['--device-list-strategy=envvar', '--pass-device-specs']],
  ['volume mounts', ['--device-list-strategy=volume-mounts']],
  ['CDI names', ['--device-list-strategy=cdi-cri']],
])('a GPU that NVIDIA’s device plugin grants by %s', (_name, args) => {
  beforeEach(async () => {
    const hook = join(await ensureTool(NVIDIA_DEVICE_PLUGIN), 'nvidia-cdi-hook');
    await startPlugin(...args, `--nvidia-cdi-hook-path=${hook}`);
    await offers(GPU, UUIDS.length);
  });

  test('is used by CUDA in a pod that has no driver files, while it is mounted', async () => {
    expect((await asked()).result).toBe('no libcuda.so.1');
    const mounted = await mount();
    expect([mounted.status, messageOf(mounted)]).toEqual([200, '']);
    const { devices, warnings = [] } = (mounted.body as DeviceMount).status;
    expect([devices.map(({ id }) => id), warnings]).toEqual([[expect.stringContaining('GPU-')], []]);
    expect(await asked()).toEqual({ result: 0, count: 1, isRight: true });
    expect((await unmount()).status).toBe(200);
    expect((await asked()).result).not.toBe(0);
    await slavesGone(pod);
    expect(await stateOf()).toEqual(before);
  });
});

test('a GPU that CUDA uses is taken by force only, and is whole for the next', async () => {
  await startPlugin();
  await offers(GPU, UUIDS.length);
  expect((await mount()).status).toBe(200);
  expect((await inPod(pod, 'nvidia-smi -L')).stdout).toContain(UUIDS[0]);
  const { stdout: pid } = await inPod(pod, `mkfifo /tmp/never; ${cuda('hold')} 0<>/tmp/never >${HELD} 2>&1 & echo $!`);
  await until('CUDA to use the GPU', async () => (await inPod(pod, `cat ${HELD}`)).stdout.includes('"result":0'));
  const busy = await unmount();
  expect([busy.status, failureIn(busy)]).toEqual([409, 'DeviceBusy']);
  expect(await asked()).toEqual({ result: 0, count: 1, isRight: true });
  expect((await unmount('&force=1')).status).toBe(200);
  // Its parent may not have waited for it.
  expect((await inPod(pod, `ls /proc/${pid.trim()}/fd`)).stdout).toBe('');
  await slavesGone(pod);
  expect(await stateOf()).toEqual(before);
  expect((await mount()).status).toBe(200);
  expect(await asked()).toEqual({ result: 0, count: 1, isRight: true });
});

test('shares of a GPU are used by CUDA in two pods at once, and one stays when the other is given back', async () => {
  const config = join(mkdtempSync(join(tmpdir(), 'nvidia-')), 'config.json');
  writeFileSync(config, JSON.stringify(TIME_SLICING));
  await startPlugin(`--config-file=${config}`);
  await offers(SHARED, 2 * UUIDS.length);
  const other = await startTarget();
  for (const each of [pod, other]) {
    const mounted = await mount(SHARED, each);
    expect([mounted.status, messageOf(mounted)]).toEqual([200, '']);
  }
  const used = { result: 0, count: 1, isRight: true };
  expect(await Promise.all([asked(), asked(other)])).toEqual([used, used]);
  expect((await unmount()).status).toBe(200);
  expect((await asked()).result).not.toBe(0);
  expect(await asked(other)).toEqual(used);
  expect(await stateOf()).toEqual(before);
  rmSync(dirname(config), { recursive: true });
});
