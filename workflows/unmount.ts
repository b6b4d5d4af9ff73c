import {
  type ApplicationFailure,
  allHandlersFinished,
  CancellationScope,
  condition,
  defineUpdate,
  getExternalWorkflowHandle,
  isCancellation,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { FoundMount } from '../activities/find-mounts.ts';
import { type DeviceMount, type DeviceMountList, withoutDevice } from '../contract/device-mount.ts';
import { type FailureType, fail, failureOf } from '../contract/failures.ts';
import { GROUP_VERSION, mountWorkflowId } from '../contract/names.ts';
import type { DetachedMount } from '../contract/node-activities.ts';
import { type ReleasedResult, SIGNALS, type UnmountInput, UPDATES } from '../contract/workflows.ts';
import { findMounts, publishFailedUnmount } from './activities.ts';
import { countUnmount } from './metrics.ts';
import { detachOnNode } from './node.ts';
import { deleteSlaves, slavesOf } from './slaves.ts';

/** So shortly before the end of its patience a caller may be answered that it goes on. */
const ANSWER_LATE_MS = 2_000;
/** Failures that say that a request was wrong: nothing has happened to the pod. */
const CALLERS = new Set<unknown>(['NothingMounted', 'BadRequest', 'InvalidSignature'] satisfies FailureType[]);

/**
 * Takes devices away from a container: those of every mount that the request means, or none. Answers the update `released` as soon as
 * the container has lost them. Their owners make them free for others; it does so itself for mounts that have none.
 * @throws InvalidSignature, NothingMounted, DeviceBusy, NodeUnreachable
 */
export async function unmountDevices(input: UnmountInput): Promise<DeviceMountList> {
  let result: ReleasedResult | undefined;
  let failure: ApplicationFailure | undefined;
  let deviceType: string | undefined;
  let listenedUntilMs = 0;
  const answer = async (patienceMs = 0): Promise<ReleasedResult> => {
    if (Number.isFinite(patienceMs))
      listenedUntilMs = Math.max(listenedUntilMs, Date.now() + patienceMs - ANSWER_LATE_MS);
    await CancellationScope.nonCancellable(() => condition(() => result !== undefined || failure !== undefined));
    if (result === undefined) throw failure ?? fail('Internal', 'Cannot unmount');
    return result;
  };
  setHandler(defineUpdate<ReleasedResult, [patienceMs?: number]>(UPDATES.released), answer, {
    description: 'Answers what the container has lost, as soon as it has.',
  });
  try {
    const { target } = input.request;
    deviceType = input.request.deviceType;
    const found = await findMounts(`find mounts of pod ${target.pod}`, { signed: input });
    const detached = await detach(input, found);
    // What has lost its devices must not stay mounted: a Cancel comes too late.
    return await CancellationScope.nonCancellable(async () => {
      // The answer goes out together with the signals.
      result = listOf(found, detached);
      countUnmount(deviceType);
      const told = await Promise.all(found.map((each) => tellOwner(each, input)));
      // An owner deletes the slaves of what it has lost. Of a mount without one there is only the whole.
      const orphans = found.filter(({ device }, index) => told[index] !== true && device === undefined);
      await deleteSlaves(orphans.flatMap(({ mount }) => slavesOf(mount, input)));
      return result;
    });
  } catch (err) {
    const known = failureOf(err);
    failure = known ?? fail(isCancellation(err) ? 'Canceled' : 'Internal', String(err), err);
    if (result === undefined) countUnmount(deviceType, failure.type ?? 'Internal');
    await CancellationScope.nonCancellable(async () => {
      const isAnswered = Date.now() < listenedUntilMs;
      if (known !== undefined && !isForCaller(known.type, isAnswered)) await tellFailed(input, known.message);
      await condition(allHandlersFinished);
    });
    if (isCancellation(err)) throw err;
    throw failure;
  }
}

/** Whether only the caller has to know: one who still waits is told by the answer, and a wrong request has changed nothing. */
function isForCaller(type: string | undefined | null, isAnswered: boolean): boolean {
  return isAnswered || CALLERS.has(type);
}

/** Whoever was answered that it goes on asks nobody any more: the pod is told. */
async function tellFailed(signed: UnmountInput, message: string): Promise<void> {
  const summary = `tell pod ${signed.request.target.pod}`;
  // Worth some tries, and not the answer.
  await publishFailedUnmount.executeWithOptions({ summary }, [{ signed, message }]).catch(() => undefined);
}

async function detach(input: UnmountInput, found: readonly FoundMount[]): Promise<readonly DetachedMount[]> {
  const { target, force } = input.request;
  // All are on the node of the one target; a mount that has none yet has nothing attached.
  const node = found.map(({ mount }) => mount.status.node).find((name) => name !== undefined);
  if (node === undefined) return [];
  const mounts = found.map(({ mount: { metadata } }) => ({ namespace: metadata.namespace, name: metadata.name }));
  const device = found.map((each) => each.device).find((id) => id !== undefined);
  const slaves = found.flatMap(({ mount }) => mount.status.slaves);
  const what = { mounts, slaves, force, signed: input, ...(device !== undefined && { device }) };
  return (await detachOnNode(node, what, `detach from ${target.pod}`, isLong)).mounts;
}

/** Those who wait for the end cannot be handed over to a new run; after some hours whoever still wants this asks again. */
function isLong(): boolean {
  return workflowInfo().continueAsNewSuggested;
}

/** Answers false when there is none, or none any more. */
async function tellOwner(
  { mount: { metadata, status }, owned, device }: FoundMount,
  { request }: UnmountInput,
): Promise<boolean> {
  if (!owned) return false;
  const owner = getExternalWorkflowHandle(mountWorkflowId(request.cluster, metadata.namespace, metadata.name));
  try {
    if (device !== undefined) await owner.signal(SIGNALS.deviceReleased, { device, by: request.user.name });
    else if (status.slaves.length > 0) await owner.signal(SIGNALS.released, { by: request.user.name });
    else await owner.signal(SIGNALS.release, { by: request.user.name, reason: 'Unmounted' });
    return true;
  } catch {
    return false;
  }
}

function listOf(found: readonly FoundMount[], detached: readonly DetachedMount[]): DeviceMountList {
  const items = found.map(({ mount, device, object }) => ({
    ...mount,
    metadata: { ...mount.metadata, ...object },
    status: {
      ...mount.status,
      ...(device === undefined
        ? // Of the container, which is what was asked for; a `get` tells until when they are not free for others.
          { phase: 'Released' as const, reason: 'Unmounted' }
        : withoutDevice(mount.status, device)),
      ...messageOf(mount, detached),
    },
  }));
  return { apiVersion: GROUP_VERSION, kind: 'DeviceMountList', metadata: { resourceVersion: '0' }, items };
}

/** That processes were ended is what the user has asked for by force, and has to know. */
function messageOf({ metadata }: DeviceMount, detached: readonly DetachedMount[]): { readonly message?: string } {
  const own = detached.find(({ mount }) => mount.name === metadata.name);
  return own?.ended === undefined ? {} : { message: `Ended processes that used the devices: ${own.ended}` };
}
