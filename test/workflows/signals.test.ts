import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { WithStartWorkflowOperation } from '@temporalio/client';
import type { DeviceMount } from '../../contract/device-mount.ts';
import { controlQueue, unmountWorkflowId } from '../../contract/names.ts';
import { QUERIES, SIGNALS, UPDATES, WORKFLOWS } from '../../contract/workflows.ts';
import { untilAnswered } from './cluster-client.ts';
import { Harness } from './harness.ts';
import { eventually } from './outcome.ts';
import { CLUSTER, mountRequest, NAMESPACE, signed, unmountRequest } from './requests.ts';

const HUGE = 'x'.repeat(1_000_000);
/** What is no object at all, among it no input. */
const NO_OBJECT: readonly (readonly unknown[])[] = [[], [null], ['x'], [5], [true], [[]]];
const NOTHING = NO_OBJECT.slice(2);

type Bad = readonly (readonly unknown[])[];

/** Inputs that a signal cannot take. */
const BAD: Readonly<Record<keyof typeof SIGNALS, Bad>> = {
  release: [...NOTHING, [{ by: 5 }], [{ by: 'x', reason: {} }]],
  released: [...NOTHING, [{ by: 5 }], [{ by: [HUGE] }]],
  deviceReleased: [...NO_OBJECT, [{}], [{ device: 5, by: 'x' }], [{ device: '/dev/fuse' }], [{ by: HUGE }]],
  // Brings nothing.
  targetGone: [],
  project: [],
  slaveEnding: [[5], [{}], [[]], ['x', 5], [HUGE, {}]],
  slaveScheduling: [[], [null], [5], [{}], [[]], ['x', 5], [HUGE, {}]],
  containerRestarted: [...NO_OBJECT, [{}], [{ containerId: 5, reapplied: true }], [{ containerId: 'c', reapplied: 1 }]],
  driftHealed: [...NO_OBJECT, [{}], [{ at: 5, what: 'x' }], [{ at: HUGE }]],
  degraded: [...NO_OBJECT, [{}], [{ at: 'now', why: 5 }], [{ at: HUGE }]],
  renew: [
    ...NO_OBJECT,
    ...[{}, ...['600', null, 0, -1, 1e300, 1e10, 1800.5, [600]].map((leaseSeconds) => ({ leaseSeconds }))].map(
      (each) => [each],
    ),
  ],
};

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterAll(() => harness.stop());

const messageOf = async (name: string): Promise<string | undefined> =>
  (await harness.handle(name).query<{ status: { message?: string } }>(QUERIES.deviceMount)).status.message;

/** What no client of ours sends: bytes in an encoding that nobody knows. */
async function signalUnreadable(name: string, signalName: string): Promise<void> {
  const payloads = [{ metadata: { encoding: Buffer.from('json/unknown') }, data: Buffer.from('{') }];
  await harness.client.workflowService.signalWorkflowExecution({
    namespace: 'default',
    workflowExecution: { workflowId: harness.handle(name).workflowId },
    signalName,
    input: { payloads },
  });
}

describe('a mount', () => {
  test.each(Object.entries(BAD))('notes each bad input of the signal %s and goes on', async (signal, inputs) => {
    const pod = `bad-${signal.toLowerCase()}`;
    const node = await harness.addNode(pod, 1);
    await harness.mount(signed(mountRequest(pod)));
    for (const input of inputs) {
      await harness.handle(`${pod}-m`).signal('driftHealed', { at: 'now', what: 'x' });
      await harness.handle(`${pod}-m`).signal(signal, ...input);
      expect(await messageOf(`${pod}-m`)).toMatch(`Ignored the signal "${signal}": `);
    }
    expect(await harness.handle(`${pod}-m`).query(QUERIES.deviceMount)).toMatchObject({ status: { phase: 'Mounted' } });
    expect(node.attached.size).toBe(1);
    await harness.handle(`${pod}-m`).cancel();
    await eventually(async () => (await harness.statusOf(`${pod}-m`)) === 'CANCELLED');
    expect(harness.leftOf(pod, node)).toEqual([]);
  });

  test('goes on after signals that cannot be decoded, have no such name, or are too long to be kept', async () => {
    const node = await harness.addNode('unread', 1);
    await harness.mount(signed(mountRequest('unread')));
    for (const signal of Object.keys(SIGNALS).filter((each) => BAD[each as keyof typeof SIGNALS].length > 0)) {
      await signalUnreadable('unread-m', signal);
    }
    await harness.handle('unread-m').signal('nonsense', { x: 1 });
    expect(await messageOf('unread-m')).toMatch('Ignored the signal "renew": ');
    await harness.handle('unread-m').signal(SIGNALS.driftHealed, { at: 'now', what: HUGE });
    expect((await messageOf('unread-m'))?.length).toBeLessThan(2_000);
    await harness.handle('unread-m').signal(SIGNALS.driftHealed, { at: 'now', what: `${'x'.repeat(1_023)}\u{1f600}` });
    // No half of a character, which would come back from kube-apiserver as something else.
    expect((await messageOf('unread-m'))?.isWellFormed()).toBe(true);
    await harness.handle('unread-m').signal(SIGNALS.release);
    expect(await harness.handle('unread-m').result()).toMatchObject({ status: { reason: 'Unmounted' } });
    expect(harness.leftOf('unread', node)).toEqual([]);
  });

  test.each([[[]], [[null]], [[{}]], [['x']], [[5, HUGE]]])(
    'answers its updates and its query whatever they bring: %#',
    async (args) => {
      const pod = `asked-${JSON.stringify(args).length}`;
      await harness.addNode(pod, 1);
      const mount = await harness.mount(signed(mountRequest(pod)));
      const handle = harness.handle(`${pod}-m`);
      const asked = await untilAnswered((updateId) =>
        handle.executeUpdate<DeviceMount, []>(UPDATES.mounted, { args: args as [], updateId }),
      );
      // Its object may have changed in between.
      const { resourceVersion } = asked.metadata;
      expect(asked).toEqual({ ...mount, metadata: { ...mount.metadata, resourceVersion } });
      expect(await handle.query(QUERIES.deviceMount, ...args)).toMatchObject({
        kind: 'DeviceMount',
      });
      const unmount = signed(unmountRequest(pod));
      const released = await untilAnswered((updateId) => {
        const startWorkflowOperation = new WithStartWorkflowOperation(WORKFLOWS.unmount, {
          workflowId: unmountWorkflowId(CLUSTER, NAMESPACE, unmount.request.id),
          taskQueue: controlQueue(CLUSTER),
          args: [unmount],
          workflowIdConflictPolicy: 'USE_EXISTING',
        });
        return harness.client.workflow.executeUpdateWithStart(UPDATES.released, {
          args,
          startWorkflowOperation,
          updateId,
        });
      });
      expect(released).toMatchObject({ items: [{ metadata: { name: `${pod}-m` } }] });
    },
  );
});

describe('every history of this file', () => {
  test('replays', async () => {
    expect(await harness.replayed()).toEqual([]);
  });
});
