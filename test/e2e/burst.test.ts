import { afterAll, expect, test } from '@jest/globals';
import type { DeviceMount, DeviceMountList } from '../../contract/device-mount.ts';
import { CLUSTER } from './cluster.ts';
import { type DeviceState, deviceState } from './device-state.ts';
import { nodeAt } from './nodes.ts';
import { deletePod, inPod, KMSG, slavesGone, startPod, unmount } from './pods.ts';
import { until } from './until.ts';

const API = '/apis/device-mounter.io/v1alpha1/namespaces/default';
/** Slaves must start and end, two processors' work for minutes. */
const SETTLED_MS = 280_000;
const TARGETS = 6;
const MOUNTS_OF_EACH = 50;

const pods: string[] = [];
afterAll(async () => {
  await Promise.all(pods.map(deletePod));
  await Promise.all(pods.map(slavesGone));
}, SETTLED_MS);

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
    const all = TARGETS * MOUNTS_OF_EACH;
    await Promise.all(pods.flatMap((pod) => Array.from({ length: MOUNTS_OF_EACH }, () => begin(pod))));
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
