import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { hasCondition } from '../../../deploy/local/kube-api.ts';
import { deviceState } from '../device-state.ts';
import { inPod } from '../exec.ts';
import { find } from '../kube.ts';
import { bringBack, nodeAt, nodeObject } from '../nodes.ts';
import { KMSG, mountOk, podPath, slavesGone, slavesOf, unmount } from '../pods.ts';
import { expectNoPods, Targets } from '../targets.ts';
import { until } from '../until.ts';
import { pluginMetrics, pluginProcessorMs } from './hostdev.ts';

const RESTARTS = 50;
/** A look takes about a millisecond. One that spins takes a whole second. */
const MOST_MS_PER_SECOND = 100;

const node = nodeAt(0);
const targets = new Targets();
let pod: string;

beforeAll(async () => {
  pod = await targets.start(node.name);
});

afterAll(async () => {
  await bringBack(node);
  await targets.remove();
  await expectNoPods();
});

/** What the node has of the plugin's, by resource; a kubelet knows for a while what was offered before. */
async function offered(): Promise<Readonly<Record<string, string>>> {
  const all = Object.entries((await nodeObject(node.name))?.status.allocatable ?? {});
  return Object.fromEntries(all.filter(([resource, count]) => resource.startsWith('hostdev.k8s.io/') && count !== '0'));
}

/** Registrations until now, by resource. */
async function registrations(result: 'ok' | 'failed'): Promise<readonly number[]> {
  const series = [...(await pluginMetrics(node))].filter(
    ([name]) => name.startsWith('registrations_total') && name.includes(`result="${result}"`),
  );
  return series.map(([, value]) => value);
}

test(`the plugin loses no device in ${RESTARTS} restarts of the kubelet, and does not spin`, async () => {
  const before = await deviceState(pod);
  await mountOk(pod, KMSG, '&wait_second=30');
  // A kubelet that starts would refuse one that does not run yet, as long as the plugin is not back.
  for (const slave of await slavesOf(pod))
    await until(`slave ${slave} to run`, async () => hasCondition(await find(podPath(slave)), 'ContainersReady'));
  const all = await offered();
  const ok = await registrations('ok');
  const startedAt = performance.now();
  const startedMs = pluginProcessorMs(node);
  for (let restart = 1; restart <= RESTARTS; restart += 1) {
    await node.kubelet.stop('SIGKILL');
    node.kubelet.start();
    const registered = async (): Promise<boolean> =>
      (await registrations('ok')).every((count, index) => count === (ok[index] ?? 0) + restart);
    await until(`the plugin to be registered after restart ${restart}`, registered);
    await until(`the devices after restart ${restart}`, async () => isDeepStrictEqual(await offered(), all));
  }
  const seconds = (performance.now() - startedAt) / 1_000;
  const msPerSecond = (pluginProcessorMs(node) - startedMs) / seconds;
  const failed = await registrations('failed');
  console.log(
    `${RESTARTS} restarts in ${seconds.toFixed(0)} s, ${msPerSecond.toFixed(1)} ms/s, failed: ${failed.join(', ')}`,
  );
  expect(msPerSecond).toBeLessThan(MOST_MS_PER_SECOND);
  expect((await inPod(pod, 'exec 3>/dev/kmsg && echo opened')).stdout).toBe('opened\n');
  expect((await unmount(pod, '&wait_second=30')).status).toBe(200);
  await slavesGone(pod);
  expect(await deviceState(pod)).toEqual(before);
}, 900_000);
