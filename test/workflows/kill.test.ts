import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { TemporalMounts } from '../../apiserver/temporal-mounts.ts';
import { failureOf } from '../../contract/failures.ts';
import { mountWorkflowId, unmountWorkflowId } from '../../contract/names.ts';
import { newMount } from './apiserver-mount.ts';
import type { Boundary } from './gates.ts';
import { Harness } from './harness.ts';
import type { MemoryNode } from './memory-node.ts';
import { eventually, failureFrom } from './outcome.ts';
import { mountRequest, NAMESPACE, signed, unmountRequest } from './requests.ts';

jest.setTimeout(120_000);

const WHEN = ['before', 'after'] as const;
const boundaries = (activities: readonly string[]): readonly Boundary[] =>
  activities.flatMap((activity) => WHEN.map((when) => ({ activity, when })));

const MOUNT = boundaries(['planMount', 'createSlave', 'awaitScheduled', 'attachDevices', 'publish']);
const UNMOUNT = boundaries(['findMounts', 'detachDevices', 'deleteSlave']);
const OWNER = boundaries(['deleteSlave', 'publish']);

const isNodeStep = (activity: string): boolean => activity === 'attachDevices' || activity === 'detachDevices';

/** Kills something, and starts it again. */
type Kill = (pods: readonly string[]) => Promise<void>;

const killControl: Kill = async () => {
  await harness.killControl();
  harness.gates.abandon((activity) => !isNodeStep(activity));
  harness.gates.open();
  await harness.startControl();
};

const killTemporal: Kill = async () => {
  await harness.server.kill();
  harness.gates.open();
  await harness.server.restart();
};

const killNodes: Kill = async (pods) => {
  await Promise.all(pods.map((pod) => harness.killNode(pod)));
  harness.gates.abandon(isNodeStep);
  harness.gates.open();
  await Promise.all(pods.map((pod) => harness.startNode(pod)));
};

interface Case {
  readonly pod: string;
  readonly node: MemoryNode;
  /** The first call; nobody cares for its answer. */
  readonly first: Promise<unknown>;
  /** Resolves when its workflow stands at its boundary. */
  readonly stopped: Promise<void>;
  /** What its caller does after the kill, until it has an answer. In the end nothing but what it says is there. */
  readonly again: () => Promise<string>;
}

let harness: Harness;
let mounts: TemporalMounts;
beforeAll(async () => {
  harness = await Harness.start();
  mounts = new TemporalMounts(harness.client);
}, 120_000);
afterAll(() => harness.stop());

/** The answer of a caller who asks again while Temporal is not there. */
async function answered<T>(ask: () => Promise<T>): Promise<T> {
  return eventually(() =>
    ask().catch((err: unknown) => {
      if (failureOf(err)?.type === 'TemporalUnavailable') return undefined;
      throw err;
    }),
  );
}

async function mountCase(pod: string, boundary: Boundary): Promise<Case> {
  const node = await harness.addNode(pod, 1);
  // With a queue the wait for the scheduler is a step of its own, before the attach.
  const queue = boundary.activity === 'awaitScheduled';
  const request = () => newMount(mountRequest(pod, { idempotencyKey: 'k1', deadlineSeconds: 100, queue }));
  const stopped = harness.gates.stop(mountWorkflowId(NAMESPACE, `${pod}-m`), boundary);
  const first = mounts.mount(request(), 60_000).catch(() => undefined);
  return {
    pod,
    node,
    first,
    stopped,
    again: async () => {
      const { state, mount } = await answered(() => mounts.mount(request(), 40_000));
      const slaves = harness.leftOf(pod, node);
      expect(slaves).toEqual([`slave ${mount.status.slaves[0]?.name}`, `${NAMESPACE}/${pod}-m`]);
      return state;
    },
  };
}

async function unmountCase(pod: string, boundary: Boundary, whose: 'unmount' | 'owner'): Promise<Case> {
  const node = await harness.addNode(pod, 1);
  await mounts.mount(newMount(mountRequest(pod, { deadlineSeconds: 100 })), 40_000);
  await eventually(() => harness.eventsOf(pod).length === 1);
  const request = signed(unmountRequest(pod, { deadlineSeconds: 100 }));
  const workflowId =
    whose === 'owner' ? mountWorkflowId(NAMESPACE, `${pod}-m`) : unmountWorkflowId(NAMESPACE, request.request.id);
  const stopped = harness.gates.stop(workflowId, boundary);
  const first = mounts.unmount(request, 60_000).catch(() => undefined);
  return {
    pod,
    node,
    first,
    stopped,
    again: async () => {
      const { type } = await failureFrom(answered(() => mounts.unmount(signed(unmountRequest(pod)), 40_000)));
      expect(['none', 'NothingMounted']).toContain(type);
      await eventually(async () => (await harness.statusOf(`${pod}-m`)) !== 'RUNNING');
      expect(harness.leftOf(pod, node)).toEqual([]);
      return harness.statusOf(`${pod}-m`);
    },
  };
}

describe('a kill at any step boundary', () => {
  test.each([
    ['the control worker', 'ctl', killControl],
    ['Temporal', 'tmp', killTemporal],
    ['the node workers', 'nod', killNodes],
  ])('of %s leaves each mount made and each unmount done, once', async (_name, prefix, kill) => {
    const cases = await Promise.all([
      ...MOUNT.map((boundary, index) => mountCase(`${prefix}-m${index}`, boundary)),
      ...UNMOUNT.map((boundary, index) => unmountCase(`${prefix}-u${index}`, boundary, 'unmount')),
      ...OWNER.map((boundary, index) => unmountCase(`${prefix}-o${index}`, boundary, 'owner')),
    ]);
    await Promise.all(cases.map(({ stopped }) => stopped));
    await kill(cases.map(({ pod }) => pod));
    expect(await Promise.all(cases.map(({ again }) => again()))).toEqual([
      ...MOUNT.map(() => 'mounted'),
      ...UNMOUNT.map(() => 'COMPLETED'),
      ...OWNER.map(() => 'COMPLETED'),
    ]);
    await Promise.all(cases.map(({ first }) => first));
  });
});
