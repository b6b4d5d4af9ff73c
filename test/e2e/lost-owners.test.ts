import { afterAll, afterEach, expect, test } from '@jest/globals';
import { mountWorkflowId } from '../../contract/names.ts';
import { CLUSTER_NAME } from '../../deploy/local/addresses.ts';
import { startWithEmptyTemporal } from './cluster.ts';
import { deviceState } from './device-state.ts';
import { Ends } from './ended.ts';
import { holdOpen, inPod } from './exec.ts';
import { messageOf } from './kube.ts';
import { nodeAt, productReady } from './nodes.ts';
import { annotatedDevices, deviceMount, KMSG, mountOk, slavesGone, unmount } from './pods.ts';
import { expectNoPods } from './targets.ts';
import { temporalCli } from './temporal.ts';
import { until } from './until.ts';

const ONCE = { idempotencyKey: 'once' };

const all = new Ends();
afterEach(() => all.deletePods());
afterAll(async () => {
  await all.stop();
  await expectNoPods();
});

test('what terminated workflows have left is freed by the reconciler', async () => {
  // cgroup v1 and v2.
  await Promise.all([nodeAt(0), nodeAt(1)].map(({ name }) => terminateOn(name)));
});

async function terminateOn(node: string): Promise<void> {
  await all.startOther(node);
  const { pod, mounted, before } = await all.mountedTarget(node);
  const { name } = mounted.metadata;
  await temporalCli('workflow', 'terminate', '--workflow-id', mountWorkflowId(CLUSTER_NAME, 'default', name));
  await until('the reconciler to show its end', async () => (await deviceMount(name))?.status.reason === 'Terminated');
  expect((await deviceMount(name))?.status.phase).toBe('Failed');
  await until('the reconciler to free the device', async () => same(await deviceState(pod), before));
  await slavesGone(pod);
  await until('the pod to be told', async () => (await annotatedDevices(pod)) === undefined);
  await all.expectFree(node);
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

async function holds(pod: string, pid: string): Promise<boolean> {
  return (await inPod(pod, `readlink /proc/${pid}/fd/3`)).stdout.trim() === '/dev/kmsg';
}

/** The mount's own UID, once an open workflow says that it is mounted. */
async function owned(name: string): Promise<string | undefined> {
  const workflow = await all.temporal.workflowOf(name).catch(() => undefined);
  return workflow?.status === 'RUNNING' && workflow.mount?.status.phase === 'Mounted'
    ? workflow.mount.metadata.uid
    : undefined;
}

test('20 mounts go on and get owners again when the database of Temporal is lost', async () => {
  const nodes = Array.from({ length: 20 }, (_, index) => nodeAt(index).name);
  const pods = await Promise.all(nodes.map((node) => all.target(node)));
  const mounts = await Promise.all(
    pods.map(async (pod) => {
      const { metadata } = await mountOk(pod, KMSG, '&wait_second=38', ONCE);
      return {
        pod,
        name: metadata.name,
        objectUid: metadata.uid,
        uid: await until(`the owner of ${metadata.name}`, () => owned(metadata.name)),
        holder: await holdOpen(pod, '/dev/kmsg', '>'),
        state: await deviceState(pod),
      };
    }),
  );
  await startWithEmptyTemporal();
  const uids = await Promise.all(mounts.map(({ name }) => until(`an owner of ${name}`, () => owned(name))));
  expect(uids).toEqual(mounts.map(({ uid }) => uid));
  expect(await Promise.all(mounts.map(({ pod, holder }) => holds(pod, holder)))).not.toContain(false);
  expect(await Promise.all(mounts.map(({ pod }) => deviceState(pod)))).toEqual(mounts.map(({ state }) => state));
  await productReady();
  // A caller who asks again gets the mount that is there.
  const again = await mountOk(pods[0] ?? '', KMSG, '&wait_second=38', ONCE);
  expect(again.metadata.uid).toBe(mounts[0]?.objectUid);
  // The new owners do what the first ones would have done.
  const [first, second] = mounts;
  expect(messageOf(await unmount(first?.pod ?? ''))).toMatch(/sleep/);
  expect((await unmount(second?.pod ?? '', '&force=1')).status).toBe(200);
  expect(await all.temporal.closed(second?.name ?? '')).toMatchObject({ status: 'COMPLETED' });
});
