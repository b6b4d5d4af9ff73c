import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { dump, load } from 'js-yaml';
import { podsOf, rolledOut } from '../daemon-sets.ts';
import { deviceState } from '../device-state.ts';
import { blocksOf } from '../guide.ts';
import { ask, messageOf, remove } from '../kube.ts';
import { kubectlOk } from '../kubectl.ts';
import { nodeAt, nodeObject } from '../nodes.ts';
import { KMSG, mount, podPath, slavesGone, unmount } from '../pods.ts';
import { expectNoPods, Targets } from '../targets.ts';
import { until } from '../until.ts';
import { pluginMetrics } from './hostdev.ts';

const CHANGES = 50;
/** One change of ten is a mistake. */
const isBad = (index: number): boolean => index % 10 === 5;
const FIRST_COUNT = 200;
const CONFIG_MAPS = '/api/v1/namespaces/kube-system/configmaps';
const NAME = 'hostdev-devices';
const NULL = 'hostdev.k8s.io/null';

const node = nodeAt(0);
const targets = new Targets();

/** What the local cluster needs; one resource has another count each time, another one comes and goes. */
function configOf(index: number): string {
  const devices = [
    { path: '/dev/fuse', permissions: 'rwm' },
    { path: '/dev/net/tun' },
    { path: '/dev/kmsg', permissions: 'w', count: FIRST_COUNT + index },
    ...(index % 2 === 0 ? [{ name: 'null', path: '/dev/null', permissions: 'r', count: 1 + (index % 4) }] : []),
    ...(isBad(index) ? [{ path: '/etc/passwd' }] : []),
  ];
  return dump({ devices });
}

/** A kubelet looks at the volumes of a pod that has changed at once, at those of others every now and then. */
async function touchPlugin(): Promise<void> {
  for (const { metadata } of await podsOf('hostdev-device-plugin', node.name)) {
    const annotations = { 'e2e-test/touched': String(Date.now()) };
    await ask('PATCH', podPath(metadata.name, 'kube-system'), { metadata: { annotations } });
  }
}

const reads = async (result: 'accepted' | 'refused'): Promise<number> =>
  (await pluginMetrics(node)).get(`config_reads_total{result="${result}"}`) ?? 0;

/** Writes a configuration, and waits until the plugin has read it. */
async function change(to: number): Promise<void> {
  const result = isBad(to) ? 'refused' : 'accepted';
  const last = await reads(result);
  await ask('PATCH', `${CONFIG_MAPS}/${NAME}`, { data: { 'devices.yaml': configOf(to) } });
  const isRead = async (): Promise<boolean> => {
    if ((await reads(result)) === last + 1) return true;
    await touchPlugin();
    return false;
  };
  await until(`change ${to} to be ${result}`, isRead, 60_000, 500);
}

const allocatable = async (resource: string): Promise<number> =>
  Number((await nodeObject(node.name))?.status.allocatable[resource] ?? 0);

beforeAll(async () => {
  const [lines = ''] = blocksOf('host-devices.md').flatMap(({ language, text }) => (language === 'yaml' ? [text] : []));
  const [container = '', volumes = ''] = lines.split(/^(?= *volumes:)/m);
  await ask('POST', CONFIG_MAPS, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: NAME },
    data: { 'devices.yaml': configOf(0) },
  });
  const spec = { containers: [{ name: 'hostdev', ...(load(container) as object) }], ...(load(volumes) as object) };
  const patch = JSON.stringify({ spec: { template: { spec } } });
  await kubectlOk(['patch', 'daemonset/hostdev-device-plugin', '--namespace', 'kube-system', '--patch', patch]);
  await rolledOut('daemonsets', 'hostdev-device-plugin');
  await until('the file to be in force', async () => (await allocatable(KMSG)) === FIRST_COUNT);
});

afterAll(async () => {
  await kubectlOk(['rollout', 'undo', 'daemonset/hostdev-device-plugin', '--namespace', 'kube-system']);
  await rolledOut('daemonsets', 'hostdev-device-plugin');
  await remove(`${CONFIG_MAPS}/${NAME}`);
  await targets.remove();
  await expectNoPods();
});

/** Mounts and unmounts until it is told to end; answers how often. */
async function useDevices(pod: string, signal: AbortSignal): Promise<number> {
  for (let times = 0; ; times += 1) {
    if (signal.aborted) return times;
    const mounted = await mount(pod, KMSG, '&wait_second=30');
    if (mounted.status !== 200) throw new Error(`mount ${times} ended with ${mounted.status}: ${messageOf(mounted)}`);
    const unmounted = await unmount(pod, '&wait_second=30');
    if (unmounted.status !== 200) throw new Error(`unmount ${times} ended with ${messageOf(unmounted)}`);
  }
}

test(`takes a ConfigMap that changes ${CHANGES} times while devices are mounted and unmounted`, async () => {
  const pods = [await targets.start(node.name), await targets.start(node.name)];
  const before = await Promise.all(pods.map((pod) => deviceState(pod)));
  const enough = new AbortController();
  const loads = Promise.all(pods.map((pod) => useDevices(pod, enough.signal)));
  const startedAt = performance.now();
  let slowestMs = 0;
  const changes = async (): Promise<void> => {
    for (let index = 1; index <= CHANGES; index += 1) {
      const at = performance.now();
      await change(index);
      slowestMs = Math.max(slowestMs, performance.now() - at);
      // A mistake leaves everything as it was.
      const inForce = isBad(index) ? index - 1 : index;
      await until(`the devices of change ${index}`, async () => (await allocatable(KMSG)) === FIRST_COUNT + inForce);
      await until('the other device', async () => (await allocatable(NULL)) > 0 === (inForce % 2 === 0));
    }
  };
  try {
    // A load that fails ends it at once.
    await Promise.race([changes(), loads]);
  } finally {
    enough.abort();
  }
  const mounts = await loads;
  const seconds = (performance.now() - startedAt) / 1_000;
  console.log(
    `${CHANGES} changes in ${seconds.toFixed(0)} s, slowest ${slowestMs.toFixed(0)} ms, mounts: ${mounts.join(', ')}`,
  );
  expect(Math.min(...mounts)).toBeGreaterThan(CHANGES / 5);
  for (const pod of pods) await slavesGone(pod);
  expect(await Promise.all(pods.map((pod) => deviceState(pod)))).toEqual(before);
  // As the guide has it.
  const events = await kubectlOk(['events', '--for', `node/${node.name}`]);
  expect(events).toMatch(
    /InvalidConfiguration .*Cannot use the configuration, the last good one stays in force: devices\[\d\]\.path: the path must lie below \/dev/,
  );
}, 900_000);
