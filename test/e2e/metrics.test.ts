import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Metrics } from '../../apiserver/server/metrics.ts';
import { mountWorkflowId } from '../../contract/names.ts';
import { CLUSTER_NAME } from '../../deploy/local/addresses.ts';
import { NODES } from './cluster.ts';
import { blocksOf, runBlock } from './guide.ts';
import { failureIn } from './kube.ts';
import { metricsOf, ownNames, total } from './metrics.ts';
import { FUSE, mount, mountOk, slavesGone, startPod, TUN, unmount } from './pods.ts';
import { expectNoPods, removeTargets } from './targets.ts';
import { temporalCli } from './temporal.ts';
import { until } from './until.ts';

const NODE = NODES[0]?.name ?? '';
const GUIDE = readFileSync(join(import.meta.dirname, '../../docs/guides/metrics.md'), 'utf8');

let pods: readonly string[] = [];
beforeAll(async () => {
  pods = await Promise.all([startPod(NODE), startPod(NODE)]);
});
afterAll(async () => {
  await removeTargets(pods);
  await expectNoPods();
});

/** What the control workers have counted of some kinds. */
async function counted(refusal: string): Promise<readonly number[]> {
  const text = await metricsOf('device-mounter-control');
  const type = { device_type: 'HOSTDEV' };
  return [
    total(text, 'device_mounter_mount_seconds_count', { ...type, result: 'ok' }),
    total(text, 'device_mounter_mount_seconds_count', { ...type, result: refusal }),
    total(text, 'device_mounter_unmount_seconds_count', { ...type, result: 'ok' }),
    total(text, 'device_mounter_mount_ends_total', { ...type, reason: 'Unmounted' }),
    total(text, 'device_mounter_reconciler_findings_total', { action: 'free', done: 'true' }),
  ];
}

test('the control workers count mounts that were made, refused, ended and freed', async () => {
  const [holder = '', other = ''] = pods;
  const before = await counted('InsufficientDevices');
  await mountOk(holder, FUSE);
  expect(failureIn(await mount(other, FUSE))).toBe('InsufficientDevices');
  expect((await unmount(holder)).status).toBe(200);
  const { metadata } = await mountOk(other, TUN);
  await temporalCli('workflow', 'terminate', '--workflow-id', mountWorkflowId(CLUSTER_NAME, 'default', metadata.name));
  await slavesGone(other);
  await until('all of it to be counted', async () => {
    const now = await counted('InsufficientDevices');
    return now.every((count, index) => count - (before[index] ?? 0) === [2, 1, 1, 1, 1][index]);
  });
});

test('docs/guides/metrics.md has every metric of our own, and no other', async () => {
  const [control, node] = await Promise.all([metricsOf('device-mounter-control'), metricsOf('device-mounter-node')]);
  const served = [control, node, await new Metrics().registry.metrics()].flatMap(ownNames);
  const told = [...GUIDE.matchAll(/^\| `(device_mounter_\w+)` +\|/gm)].map(([, name = '']) => name);
  expect(told.toSorted()).toEqual([...new Set(served)].toSorted());
});

test('docs/guides/metrics.md tells how to look once, and names metrics that are there', async () => {
  const [look] = blocksOf('metrics.md');
  expect(await runBlock(look?.text ?? 'false', {})).toContain('device_mounter_mount_seconds_count');
  const text = await metricsOf('device-mounter-control');
  expect(text).toMatch(/^temporal_workflow_task_execution_latency_seconds_count\{/m);
});
