import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { TemporalMounts } from '../../apiserver/mounts/temporal-mounts.ts';
import { failureOf } from '../../contract/failures.ts';
import { mountWorkflowId, unmountWorkflowId } from '../../contract/names.ts';
import { newMount } from './apiserver-mount.ts';
import type { Boundary } from './gates.ts';
import { Harness } from './harness.ts';
import type { MemoryNode } from './memory-node.ts';
import { eventually, failureFrom } from './outcome.ts';
import { waits } from './queue.ts';
import { CLUSTER, FUSE, mountRequest, NAMESPACE, signed, unmountRequest } from './requests.ts';

/** Steps of what was killed are made again when their time is over, one after the other. */
const PATIENCE_MS = 100_000;

const WHEN = ['before', 'after'] as const;
const boundaries = (activities: readonly string[]): readonly Boundary[] =>
  activities.flatMap((activity) => WHEN.map((when) => ({ activity, when })));

const MOUNT = boundaries(['reserveDevices', 'attachDevices', 'projectMount']);
const UNMOUNT = boundaries(['findMounts', 'detachDevices']);
const OWNER = boundaries(['deleteSlave', 'projectMount']);

export const isNodeStep = (activity: string): boolean => activity === 'attachDevices' || activity === 'detachDevices';

/** Kills something, lets go on what it was not at, has happen what happens meanwhile, and starts it again. */
type Kill = (harness: Harness, pods: readonly string[], meanwhile: () => void) => Promise<void>;

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

/** Tests a kill of `who` at every boundary of every step, of a mount and of an unmount, all at once. */
export function testKill(who: string, kill: Kill): void {
  beforeAll(async () => {
    // All stand at gates, some more than once when their time is over.
    harness = await Harness.start({ forceMs: 3_000, atOnce: 100 });
    mounts = harness.mounts();
  });
  afterAll(() => harness.stop());
  test(`a kill of ${who} at any step boundary leaves each mount made and each unmount done, once`, async () => {
    const cases = await Promise.all([
      ...MOUNT.map((boundary, index) => mountCase(`m${index}`, boundary)),
      ...UNMOUNT.map((boundary, index) => unmountCase(`u${index}`, boundary, 'unmount')),
      ...OWNER.map((boundary, index) => unmountCase(`o${index}`, boundary, 'owner')),
      queuedCase('q0'),
    ]);
    await Promise.all(cases.map(({ stopped }) => stopped));
    const pods = cases.map(({ pod }) => pod);
    await kill(harness, pods, () => harness.cluster.addDevices('q0', FUSE, 1));
    expect(await Promise.all(cases.map(({ again }) => again()))).toEqual([
      ...MOUNT.map(() => 'mounted'),
      ...UNMOUNT.map(() => 'COMPLETED'),
      ...OWNER.map(() => 'COMPLETED'),
      'mounted',
    ]);
    await Promise.all(cases.map(({ first }) => first));
  });
}

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
  const request = () => newMount(mountRequest(pod, { idempotencyKey: 'k1' }));
  const stopped = harness.gates.stop(mountWorkflowId(CLUSTER, NAMESPACE, `${pod}-m`), boundary);
  const first = mounts.mount(request(), PATIENCE_MS).catch(() => undefined);
  return {
    pod,
    node,
    first,
    stopped,
    again: async () => {
      const { state, mount } = await answered(() => mounts.mount(request(), PATIENCE_MS));
      const slaves = harness.leftOf(pod, node);
      expect(slaves).toEqual([`slave ${mount.status.slaves[0]?.name}`, `${NAMESPACE}/${pod}-m`]);
      return state;
    },
  };
}

/** A mount that waits for a device, which is free while nobody can tell it so. */
async function queuedCase(pod: string): Promise<Case> {
  const node = await harness.addNode(pod, 0);
  const request = newMount(mountRequest(pod, { idempotencyKey: 'k1', queue: true }));
  const first = mounts.mount(request, PATIENCE_MS).catch(() => undefined);
  const again = async (): Promise<string> => (await answered(() => mounts.mount(request, PATIENCE_MS))).state;
  return { pod, node, first, stopped: eventually(() => isStarted(pod)).then(() => waits(harness, `${pod}-m`)), again };
}

async function isStarted(pod: string): Promise<boolean> {
  return harness.statusOf(`${pod}-m`).then(
    () => true,
    () => false,
  );
}

async function unmountCase(pod: string, boundary: Boundary, whose: 'unmount' | 'owner'): Promise<Case> {
  const node = await harness.addNode(pod, 1);
  await mounts.mount(newMount(mountRequest(pod)), PATIENCE_MS);
  await eventually(() => harness.eventsOf(pod).length === 1);
  const request = signed(unmountRequest(pod));
  const workflowId =
    whose === 'owner'
      ? mountWorkflowId(CLUSTER, NAMESPACE, `${pod}-m`)
      : unmountWorkflowId(CLUSTER, NAMESPACE, request.request.id);
  const stopped = harness.gates.stop(workflowId, boundary);
  const first = mounts.unmount(request, PATIENCE_MS).catch(() => undefined);
  return {
    pod,
    node,
    first,
    stopped,
    again: async () => {
      const { type } = await failureFrom(answered(() => mounts.unmount(signed(unmountRequest(pod)), PATIENCE_MS)));
      expect(['none', 'NothingMounted']).toContain(type);
      await harness.closed(`${pod}-m`);
      expect(harness.leftOf(pod, node)).toEqual([]);
      return harness.statusOf(`${pod}-m`);
    },
  };
}
