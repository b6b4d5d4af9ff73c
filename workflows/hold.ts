import { CancellationScope, condition, isCancellation, log, workflowInfo } from '@temporalio/workflow';
import type { DeviceMount } from '../contract/device-mount.ts';
import { fail, failureOf } from '../contract/failures.ts';
import type { MountRef } from '../contract/node-activities.ts';
import { targetState } from './activities.ts';
import { detachInUse } from './detach-in-use.ts';
import { ENDS, type End, type MountEnds } from './mount-ends.ts';
import { detachPatiently } from './node.ts';
import { deleteSlaves, slavesOf } from './slaves.ts';
import type { StatusRecord } from './status-record.ts';
import { PATIENCE_MS } from './timeouts.ts';

export interface Held {
  readonly record: StatusRecord;
  readonly ends: MountEnds;
}

/**
 * Waits, as long as the mount lives, and then gives everything back. Answers why it ended, or `continueAsNew` when the
 * history has become so long that the workflow has to go on in a new run.
 * @throws RollbackIncomplete when something could not be given back
 */
export async function hold(held: Held): Promise<End | 'continueAsNew'> {
  for (;;) {
    const end = await nextEnd(held);
    if (end === 'continueAsNew') return end;
    // From here on nothing stops half-way; a Cancel that comes now is seen at the next wait.
    const ended = await CancellationScope.nonCancellable(() => release(held.record, end));
    if (ended !== undefined) return ended;
  }
}

async function nextEnd({ record, ends }: Held): Promise<End | 'continueAsNew'> {
  try {
    for (;;) {
      const { leaseEndsAt } = record.status;
      const changed = (): boolean =>
        ends.next !== undefined || record.status.leaseEndsAt !== leaseEndsAt || workflowInfo().continueAsNewSuggested;
      if (leaseEndsAt === undefined) await condition(changed);
      else if (!(await condition(changed, Math.max(1, Date.parse(leaseEndsAt) - Date.now()))))
        return { kind: 'leaseEnded' };
      const end = ends.take();
      if (end !== undefined) return end;
      if (workflowInfo().continueAsNewSuggested) return 'continueAsNew';
    }
  } catch (err) {
    if (!isCancellation(err)) throw err;
    return { kind: 'canceled' };
  }
}

/** Answers why the mount has ended, or `undefined` when the devices are in use and stay. */
async function release(record: StatusRecord, end: End): Promise<End | undefined> {
  const { mount } = record;
  record.change({ phase: 'Releasing', reason: ENDS[end.kind].reason, message: undefined });
  try {
    if (end.kind !== 'released') await detach(mount, end);
  } catch (err) {
    const failure = failureOf(err);
    // A mount that closes is freed by force, which nobody has asked for here.
    if (ENDS[end.kind].force && failure?.type !== 'DeviceBusy') throw incomplete(mount, err);
    const message = failure?.message ?? `Cannot detach within ${PATIENCE_MS / 60_000} min: release it again`;
    record.change({ phase: 'Mounted', reason: undefined, message });
    return undefined;
  }
  try {
    await deleteSlaves(slavesOf(mount));
  } catch (err) {
    throw incomplete(mount, err);
  }
  return endOfTarget(mount, end);
}

/** With its target a slave ends, too; then the target is the reason, whichever was heard of first. */
export async function endOfTarget({ metadata, spec }: DeviceMount, end: End): Promise<End> {
  if (end.kind !== 'slaveEnding') return end;
  const { podName: pod, podUid, container } = spec;
  try {
    const state = await targetState.executeWithOptions({ summary: `is pod ${pod} still there` }, [
      { target: { namespace: metadata.namespace, pod, podUid, container } },
    ]);
    return state === 'alive' ? end : { kind: 'targetGone' };
  } catch (err) {
    // Everything was given back: that nobody can tell why is no failure.
    log.warn('cannot tell whether the target is still there', { pod, err });
    return end;
  }
}

async function detach(mount: DeviceMount, end: End): Promise<void> {
  const { metadata, spec, status } = mount;
  const { force } = ENDS[end.kind];
  const mounts: readonly MountRef[] = [{ namespace: metadata.namespace, name: metadata.name }];
  const summary = `detach from ${spec.podName}`;
  const { node } = status;
  if (node === undefined) return;
  const what = { mounts, slaves: status.slaves, force };
  await detachInUse(() => detachPatiently(node, what, summary), slavesOf(mount));
}

function incomplete({ spec, status }: DeviceMount, err: unknown): Error {
  const slaves = status.slaves.map(({ namespace, name }) => `${namespace}/${name}`).join(', ');
  const what = `devices in container ${spec.container} of pod ${spec.podName}, and slave pods ${slaves}`;
  return fail('RollbackIncomplete', `Cannot give everything back yet: ${what}. The reconciler goes on with it`, err);
}
