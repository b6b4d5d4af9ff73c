import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { mountWorkflowId } from '../../contract/names.ts';
import { newMount } from './apiserver-mount.ts';
import { Harness } from './harness.ts';
import { eventually, failureFrom } from './outcome.ts';
import { Replica } from './replica.ts';
import { CLUSTER, mountRequest, NAMESPACE, signed } from './requests.ts';

/** Enough for the steps that come before it, on a machine that is busy with other suites, once they have been made before. */
const DEADLINE_SECONDS = 15;
/** When nobody waits for such a mount any more, see `UNDO_PATIENCE_MS` of the apiserver. */
const GIVEN_UP_MS = (DEADLINE_SECONDS + 5) * 1_000;

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
  // The first mount takes longer: only then is loaded what makes it.
  await harness.addNode('first', 1);
  await harness.mount(signed(mountRequest('first')));
});
afterAll(() => harness.stop());

test('a mount whose caller was told that its time was over is not made, whenever somebody works on it again', async () => {
  const node = await harness.addNode('late', 1);
  const attached = harness.gates.stop(mountWorkflowId(CLUSTER, NAMESPACE, 'late-m'), {
    activity: 'attachDevices',
    when: 'after',
  });
  const mounts = harness.mounts();
  const told = failureFrom(mounts.mount(newMount(mountRequest('late', { deadlineSeconds: DEADLINE_SECONDS })), 40_000));
  await attached;
  await harness.stopControl();
  harness.gates.open();
  expect(await told).toMatchObject({ type: 'Timeout', causes: ['RollingBack'] });
  await harness.startControl();
  const phase = await eventually(async () => {
    const mount = (await mounts.earlier(NAMESPACE, 'late-m'))?.mount;
    return mount?.status.phase === 'Pending' ? undefined : mount?.status;
  });
  expect(phase).toMatchObject({ phase: 'Failed', reason: 'Timeout' });
  await harness.closed('late-m');
  expect(harness.leftOf('late', node)).toEqual([]);
});

test('a replica that was held up past the deadline answers what has become of the mount meanwhile', async () => {
  await harness.addNode('held', 1);
  const attaching = harness.gates.stop(mountWorkflowId(CLUSTER, NAMESPACE, 'held-m'), {
    activity: 'attachDevices',
    when: 'before',
  });
  const replica = new Replica(harness, newMount(mountRequest('held', { deadlineSeconds: DEADLINE_SECONDS })));
  await attaching;
  const overMs = Date.now() + GIVEN_UP_MS;
  await replica.hold();
  harness.gates.open();
  await eventually(
    async () => (await harness.statusOf('held-m')) === 'RUNNING' && harness.eventsOf('held').length === 1,
  );
  await eventually(() => Date.now() > overMs);
  replica.release();
  expect(await replica.answer).toMatchObject({ state: 'mounted', mount: { status: { phase: 'Mounted' } } });
});

test('a mount that Temporal has taken late is told to go on, as it does', async () => {
  await harness.addNode('young', 1);
  const attaching = harness.gates.stop(mountWorkflowId(CLUSTER, NAMESPACE, 'young-m'), {
    activity: 'attachDevices',
    when: 'before',
  });
  const mounts = harness.mounts();
  // Late enough for its time to be over if it had begun with the request, with time left to take it.
  const backMs = Date.now() + GIVEN_UP_MS - 10_000;
  await harness.server.hold();
  const told = mounts.mount(newMount(mountRequest('young', { deadlineSeconds: DEADLINE_SECONDS })), 40_000);
  await eventually(() => Date.now() > backMs);
  harness.server.release();
  await attaching;
  expect(await told).toMatchObject({ state: 'pending' });
  harness.gates.open();
  await eventually(() => harness.eventsOf('young').length === 1);
});

test('a caller is told of a deadline only when no worker has a task any more that began before it', async () => {
  await harness.addNode('deciding', 1);
  await harness.stopControl();
  const { connection, workflow } = harness.client;
  const workflowId = mountWorkflowId(CLUSTER, NAMESPACE, 'deciding-m');
  const request = newMount(mountRequest('deciding', { deadlineSeconds: 3 }));
  const told = failureFrom(harness.mounts().mount(request, 40_000));
  // A worker that takes tasks, also the last ones of mounts before, and never answers.
  const poll = { namespace: 'default', taskQueue: { name: harness.queue, kind: 1 }, identity: 'test' };
  await eventually(async () => {
    const { workflowExecution } = await connection.withDeadline(Date.now() + 60_000, () =>
      connection.workflowService.pollWorkflowTaskQueue(poll),
    );
    return workflowExecution?.workflowId === workflowId;
  });
  expect(await told).toMatchObject({ type: 'Timeout', causes: ['RollingBack'] });
  const { raw } = await workflow.getHandle(workflowId).describe();
  expect(raw.pendingWorkflowTask?.startedTime ?? undefined).toBeUndefined();
  await harness.startControl();
  await eventually(async () => (await harness.statusOf('deciding-m')) === 'FAILED');
});
