import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createClusterActivities } from '../../activities/cluster-activities.ts';
import type { Dependencies } from '../../activities/dependencies.ts';
import type { DeviceMount } from '../../contract/device-mount.ts';
import { controlQueue, mountWorkflowId, nodeQueue, reconcileSchedule } from '../../contract/names.ts';
import type { NodeActivities } from '../../contract/node-activities.ts';
import { SIGNALS, WORKFLOWS } from '../../contract/workflows.ts';
import { ensureSchedule } from '../../workflows/schedule.ts';
import { Harness } from './harness.ts';
import type { MemoryNode } from './memory-node.ts';
import { eventually, failureFrom } from './outcome.ts';
import {
  CLUSTER,
  DEADLINE_SECONDS,
  FUSE,
  forged,
  mountRequest,
  NAMESPACE,
  signed,
  unmountRequest,
} from './requests.ts';

const TUN = 'hostdev.k8s.io/dev_net_tun';

/** Of control workers and node workers; made, they would need what they work with. */
const ALL_STEPS = [
  ...Object.keys(createClusterActivities({} as Dependencies)),
  ...(['attachDevices', 'detachDevices', 'takenBack'] satisfies (keyof NodeActivities)[]),
].toSorted();

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterAll(() => harness.stop());

/** A split mount of two devices, and one beside it in the same container, which nothing may happen to. */
async function prey(pod: string): Promise<MemoryNode> {
  const node = await harness.addNode(pod, 2);
  harness.cluster.addDevices(pod, TUN, 1);
  harness.guard(node);
  await harness.mount(signed(mountRequest(pod, { resources: { [FUSE]: '1', [TUN]: '1' }, split: true })));
  await harness.mount(signed(mountRequest(pod, { name: `${pod}-beside` })));
  return node;
}

const stays = async (pod: string): Promise<void> => {
  await harness.handle(`${pod}-m`).query('deviceMount');
  expect(await harness.statusOf(`${pod}-m`)).toBe('RUNNING');
};
const ends = (pod: string): Promise<void> => harness.closed(`${pod}-m`);

describe('whoever can do everything with Temporal', () => {
  test.each([
    ['release', [{ by: 'x', reason: 'x' }], ends, 0],
    ['released', [], ends, 0],
    ['targetGone', [], ends, 0],
    ['slaveEnding', [], ends, 0],
    ['slaveEnding', ['of another'], stays, 2],
    ['containerRestarted', [{ containerId: 'c9', reapplied: false }], ends, 0],
    ['containerRestarted', [{ containerId: 'c9', reapplied: true }], stays, 2],
    ['driftHealed', [{ at: 'now', what: 'x' }], stays, 2],
    ['degraded', [{ at: 'now', why: 'x' }], stays, 2],
    ['renew', [{ leaseSeconds: 1e9 }], stays, 2],
    ['renew', [{ leaseSeconds: 1 }], ends, 0],
    ['deviceReleased', [{ device: '/dev/none', by: 'x' }], stays, 2],
  ] as const)(
    'can end a mount by the signal %s %j, or write its words, and no more',
    async (signal, args, then, left) => {
      const pod = `sig-${signal.toLowerCase()}-${JSON.stringify(args).length}`;
      const node = await prey(pod);
      const before = harness.leftOf(pod, node);
      await harness.handle(`${pod}-m`).signal(SIGNALS[signal], ...args);
      await then(pod);
      const after = harness.leftOf(pod, node);
      expect(after.filter((each) => !before.includes(each))).toEqual([]);
      expect(node.attached.get(`${NAMESPACE}/${pod}-m`) ?? []).toHaveLength(left);
      expect(node.attached.get(`${NAMESPACE}/${pod}-beside`)).toHaveLength(1);
    },
  );

  test('cannot free a device that its node has not detached', async () => {
    const node = await prey('half');
    await harness.handle('half-m').signal(SIGNALS.deviceReleased, { device: '/dev/tun', by: 'x' });
    await ends('half');
    // The slave's end takes the devices, whatever the workflow believes.
    expect([...node.attached.keys()]).toEqual([`${NAMESPACE}/half-beside`]);
  });

  test('gets the one mount by a reset while its request counts', async () => {
    const node = await harness.addNode('reset-a', 4);
    harness.guard(node);
    const request = signed(mountRequest('reset-a'));
    await harness.mount(request);
    await harness.reset('reset-a-m');
    await eventually(async () => (await harness.statusOf('reset-a-m')) === 'RUNNING');
    await harness.mount(request);
    expect(harness.leftOf('reset-a', node)).toHaveLength(2);
  });

  test('gets none by a reset afterwards', async () => {
    const node = await harness.addNode('reset-b', 4);
    harness.guard(node);
    await harness.mount(signed(mountRequest('reset-b')));
    // Its clock may be a minute behind.
    harness.aheadMs = (DEADLINE_SECONDS + 61) * 1_000;
    await harness.reset('reset-b-m');
    const { type } = await failureFrom(harness.handle('reset-b-m').result());
    harness.aheadMs = 0;
    expect(type).toBe('Timeout');
    expect(harness.leftOf('reset-b', node)).toEqual([]);
  });

  test('gets nothing by a Schedule that starts mounts, and the reconciler’s comes back', async () => {
    const node = await harness.addNode('timed', 1);
    await ensureSchedule(harness.client, CLUSTER, 3_600);
    const schedule = harness.client.schedule.getHandle(reconcileSchedule(CLUSTER));
    const workflowId = mountWorkflowId(CLUSTER, NAMESPACE, 'timed-m');
    await schedule.update(({ policies, spec, state }) => ({
      policies,
      spec,
      state,
      action: {
        type: 'startWorkflow',
        workflowType: WORKFLOWS.mount,
        taskQueue: controlQueue(CLUSTER),
        workflowId,
        args: [forged(mountRequest('timed'))],
      },
    }));
    await schedule.trigger();
    const action = await eventually(async () => {
      const { info } = await schedule.describe();
      const started = info.recentActions.map((recent) => recent.action.workflow);
      return started.find((workflow) => workflow.workflowId.startsWith(workflowId));
    });
    const run = harness.client.workflow.getHandle(action.workflowId, action.firstExecutionRunId);
    expect((await failureFrom(run.result())).type).toMatch(/^(BadRequest|InvalidSignature)$/);
    expect(harness.leftOf('timed', node)).toEqual([]);
    await ensureSchedule(harness.client, CLUSTER, 60);
    expect((await schedule.describe()).action.workflowType).toBe(WORKFLOWS.reconcile);
  });

  test('makes, attaches and changes nothing by any step, unsigned or with what others have signed', async () => {
    const node = await prey('steps');
    const { metadata, spec, status } = await harness.handle('steps-m').query<DeviceMount>('deviceMount');
    const mount = { metadata, spec, status };
    const [slave] = status.slaves;
    const target = mountRequest('steps').target;
    const mine = forged(mountRequest('steps'));
    const of = { namespace: NAMESPACE, name: slave?.name, mount: 'steps-m', targetUid: target.podUid };
    const attached = { mounts: [{ namespace: NAMESPACE, name: 'steps-m' }], slaves: [], force: true };
    const steps: Readonly<Record<string, readonly [queue: string, input: object, outcome: string]>> = {
      reserveDevices: [controlQueue(CLUSTER), { signed: mine, mountUid: 'x', mount }, 'InvalidSignature'],
      deleteSlave: [controlQueue(CLUSTER), of, 'Forbidden'],
      findMounts: [controlQueue(CLUSTER), { signed: forged(unmountRequest('steps')) }, 'InvalidSignature'],
      nodeState: [controlQueue(CLUSTER), { node: 'steps' }, 'none'],
      shortage: [controlQueue(CLUSTER), { node: 'steps', wanted: { [FUSE]: '1' }, slaves: status.slaves }, 'none'],
      targetState: [controlQueue(CLUSTER), { target }, 'none'],
      surveyMounts: [controlQueue(CLUSTER), {}, 'none'],
      adoptMount: [controlQueue(CLUSTER), { signed: mine, mount }, 'none'],
      checkAdoption: [controlQueue(CLUSTER), { signed: mine, mount }, 'InvalidSignature'],
      tellOwner: [controlQueue(CLUSTER), { namespace: NAMESPACE, mount: 'nobody', signal: 'release' }, 'none'],
      projectMount: [controlQueue(CLUSTER), { signed: mine, mount }, 'InvalidSignature'],
      confirmMounts: [controlQueue(CLUSTER), { mounts: [{ namespace: NAMESPACE, name: 'steps-m' }] }, 'none'],
      settleMount: [controlQueue(CLUSTER), { namespace: NAMESPACE, name: 'steps-m' }, 'none'],
      showMount: [controlQueue(CLUSTER), { namespace: NAMESPACE, name: 'steps-m' }, 'none'],
      publish: [
        controlQueue(CLUSTER),
        { signed: mine, mount, events: [{ type: 'Normal', reason: 'X', message: 'x' }] },
        'InvalidSignature',
      ],
      publishFailedUnmount: [
        controlQueue(CLUSTER),
        { signed: forged(unmountRequest('steps')), message: 'x' },
        'InvalidSignature',
      ],
      attachDevices: [nodeQueue(CLUSTER, 'steps'), { signed: mine, slaves: status.slaves }, 'InvalidSignature'],
      detachDevices: [
        nodeQueue(CLUSTER, 'steps'),
        { ...attached, signed: forged(unmountRequest('steps')) },
        'InvalidSignature',
      ],
      takenBack: [
        nodeQueue(CLUSTER, 'steps'),
        { mounts: [{ namespace: NAMESPACE, name: 'steps-m', slaves: [] }] },
        'none',
      ],
    };
    expect(Object.keys(steps).toSorted()).toEqual(ALL_STEPS);
    const before = harness.leftOf('steps', node);
    for (const [activity, [queue, input, outcome]] of Object.entries(steps)) {
      const { type } = await failureFrom(harness.attack(`attack/steps/${activity}`, queue, activity, input));
      expect([activity, type]).toEqual([activity, outcome]);
    }
    expect(harness.leftOf('steps', node)).toEqual(before);
    const told = harness.eventsOf('steps').filter((reason) => reason === 'X' || reason === 'UnMountDeviceFailed');
    expect(told).toEqual([]);
  });
});
