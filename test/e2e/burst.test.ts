import { afterAll, expect, test } from '@jest/globals';
import type { DeviceMount, DeviceMountList } from '../../contract/device-mount.ts';
import { CLUSTER } from './cluster.ts';
import { type DeviceState, deviceState } from './device-state.ts';
import { getJson } from './kubectl.ts';
import { nodeAt } from './nodes.ts';
import { deletePod, inPod, KMSG, slavesGone, startPod, unmount } from './pods.ts';
import { until } from './until.ts';

const API = '/apis/device-mounter.io/v1alpha1/namespaces/default';
/** Slaves must start and end, two processors' work for minutes. */
const SETTLED_MS = 280_000;
const TARGETS = 6;
const MOUNTS = 300;
/** What a slave requests, in thousandths of a processor, with some to spare for what else may start. */
const SLAVE_CPU = 5;
const SPARE_CPU = 200;

const pods: string[] = [];
afterAll(async () => {
  await Promise.all(pods.map(deletePod));
  await Promise.all(pods.map(slavesGone));
}, SETTLED_MS);

interface Pod {
  readonly spec: {
    readonly containers: readonly { readonly resources: { readonly requests?: { readonly cpu?: string } } }[];
  };
}

/** `2` and `2000m` are 2000. */
const milli = (cpu = '0'): number => (cpu.endsWith('m') ? Number(cpu.slice(0, -1)) : Number(cpu) * 1_000);

/** Mounts for each target: 300 in all, or as many slaves as the processors of the node are enough for. */
async function mountsOfEach(node: string): Promise<number> {
  const object = await getJson<{ status: { allocatable: { cpu: string } } }>(['node', node]);
  const list = await getJson<{ items: Pod[] }>(['pods', '--all-namespaces', `--field-selector=spec.nodeName=${node}`]);
  const used = (list?.items ?? [])
    .flatMap(({ spec }) => spec.containers)
    .reduce((sum, { resources }) => sum + milli(resources.requests?.cpu), 0);
  const free = milli(object?.status.allocatable.cpu) - used - SPARE_CPU;
  return Math.floor(Math.min(MOUNTS, free / SLAVE_CPU) / TARGETS);
}

async function begin(pod: string): Promise<void> {
  const path = `${API}/pods/${pod}/mount?device_type=HOSTDEV&wait_second=0`;
  const { status, body } = await CLUSTER.api.send('PUT', path, { resources: { [KMSG]: '1' } });
  if (status !== 202) throw new Error(`PUT ${path} was answered with ${status}: ${JSON.stringify(body)}`);
}

/** Those of this test's pods, by phase. */
async function mounts(): Promise<ReadonlyMap<string, readonly DeviceMount[]>> {
  const list = (await CLUSTER.api.find(`${API}/devicemounts`)) as DeviceMountList | undefined;
  const own = (list?.items ?? []).filter(({ spec }) => pods.includes(spec.podName));
  return Map.groupBy(own, ({ status }) => status.phase);
}

test(
  'hundreds of mounts at once on one node queue, and all succeed',
  async () => {
    const node = nodeAt(0).name;
    pods.push(...(await Promise.all(Array.from({ length: TARGETS }, () => startPod(node)))));
    const before: readonly DeviceState[] = await Promise.all(pods.map((pod) => deviceState(pod)));
    const count = await mountsOfEach(node);
    expect(count).toBeGreaterThan(1);
    const all = TARGETS * count;
    await Promise.all(pods.flatMap((pod) => Array.from({ length: count }, () => begin(pod))));
    const mounted = await until(
      'all to be mounted',
      async () => {
        const { Mounted = [], Failed = [] } = Object.fromEntries(await mounts());
        expect(Failed.map(({ status }) => `${status.reason}: ${status.message}`)).toEqual([]);
        return Mounted.length === all && Mounted;
      },
      SETTLED_MS,
    );
    // Each has a device of its own, and every container the node once.
    expect(new Set(mounted.flatMap(({ status }) => status.devices.map(({ id }) => id))).size).toBe(all);
    for (const pod of pods) expect((await inPod(pod, 'exec 3>/dev/kmsg')).code).toBe(0);
    for (const pod of pods) expect((await unmount(pod, '&wait_second=38')).code).toBe(0);
    expect(await Promise.all(pods.map((pod) => deviceState(pod)))).toEqual(before);
    await until('all slaves to be gone', async () => (await mounts()).get('Released')?.length === all, SETTLED_MS);
  },
  2 * SETTLED_MS,
);
