import { CancellationScope, condition, patched, workflowInfo } from '@temporalio/workflow';
import type { SlaveRef } from '../contract/device-mount.ts';
import { fail, failureOf } from '../contract/failures.ts';
import { slaveName } from '../contract/names.ts';
import type { AttachResult } from '../contract/node-activities.ts';
import { type MountRequest, sharesOf } from '../contract/requests.ts';
import type { MountInput } from '../contract/workflows.ts';
import { awaitScheduled, createSlave, deleteSlave, planMount } from './activities.ts';
import { detachInUse } from './detach-in-use.ts';
import { endOfTarget } from './hold.ts';
import { failureOfEnd, type MountEnds } from './mount-ends.ts';
import type { MountOutcome } from './mount-outcome.ts';
import type { MountQueue } from './mount-queue.ts';
import { attachOnNode, detachPatiently } from './node.ts';
import { type Register, saga } from './saga.ts';
import type { StatusRecord } from './status-record.ts';

export interface MountContext {
  readonly input: MountInput;
  readonly record: StatusRecord;
  readonly ends: MountEnds;
  readonly outcome: MountOutcome;
  readonly queue: MountQueue;
}

/**
 * Makes the mount within the deadline of its request, or undoes what was begun.
 * @throws any of `FAILURES`, or a cancellation, when all is undone; RollbackIncomplete when it is not
 */
export async function establish(context: MountContext): Promise<void> {
  const { request } = context.input;
  const scope = new CancellationScope();
  const guard = new CancellationScope();
  let stopped: unknown;
  const guarding = guard.run(async () => {
    // Not 0, which would mean no limit.
    const ended = await condition(() => context.ends.next !== undefined, Math.max(1, remainingMs(request)));
    const end = ended ? context.ends.next : undefined;
    stopped = end === undefined ? timeoutOf(request) : failureOfEnd(request.name, end);
    scope.cancel();
  });
  // It is only cancelled, when it is not needed any more.
  guarding.catch(() => undefined);
  try {
    await scope.run(() =>
      saga(async (register) => {
        try {
          await steps(context, register);
        } catch (err) {
          // The undo ends the slave, which must not be taken for the reason.
          guard.cancel();
          stopped ??= err;
          if (failureOf(stopped)?.type === 'SlaveEnded' && patched('why-slave-ended'))
            stopped = await reasonBehind(context, stopped);
          context.outcome.failed(stopped);
          throw err;
        }
      }),
    );
  } catch (err) {
    throw failureOf(err)?.type === 'RollbackIncomplete' ? err : (stopped ?? err);
  } finally {
    guard.cancel();
  }
}

/** With its target a slave ends, too; then the target is the reason, whichever was heard of first. */
async function reasonBehind({ input, record }: MountContext, slaveEnded: unknown): Promise<unknown> {
  const heard = { kind: 'slaveEnding' } as const;
  const end = await CancellationScope.nonCancellable(() => endOfTarget(record.mount, heard));
  return end === heard ? slaveEnded : failureOfEnd(input.request.name, end);
}

/** At most 0 once the deadline is over. Both times are of Temporal's clock: that of whoever wrote the request may be another. */
function remainingMs({ deadlineSeconds }: MountRequest): number {
  return workflowInfo().startTime.getTime() + deadlineSeconds * 1_000 - Date.now();
}

function timeoutOf({ name, deadlineSeconds }: MountRequest): Error {
  return fail('Timeout', `Cannot mount "${name}": not mounted within ${deadlineSeconds} s`);
}

async function steps(context: MountContext, register: Register): Promise<void> {
  const { input, record } = context;
  const { request } = input;
  const { runId, originalExecutionRunId } = workflowInfo();
  // A reset begins anew where there may be slaves already; what they hold ends with them.
  if (runId !== originalExecutionRunId) sharesOf(request).forEach((_share, index) => undoSlave(input, index, register));
  const { node } = await planMount.executeWithOptions({ summary: `plan for pod ${request.target.pod}` }, [
    { signed: input },
  ]);
  const slaves = await reserve(input, node, register);
  record.change({ node, slaves });
  const { devices } = await attach(context, node, slaves, register);
  // While no worker runs, the deadline passes unseen; the caller has been told that all is undone.
  if (remainingMs(request) <= 0 && patched('deadline-kept')) throw timeoutOf(request);
  const now = Date.now();
  record.change({
    phase: 'Mounted',
    devices,
    mountedAt: new Date(now).toISOString(),
    message: undefined,
    ...(request.leaseSeconds !== undefined && {
      leaseEndsAt: new Date(now + request.leaseSeconds * 1_000).toISOString(),
    }),
  });
}

type Doing = Pick<MountContext, 'input' | 'record' | 'queue'>;

/** All slaves or none: the undo of what was made begins when nothing is being made any more. */
async function reserve(input: MountInput, node: string, register: Register): Promise<readonly SlaveRef[]> {
  const made = await Promise.allSettled(
    sharesOf(input.request).map((_share, index) => makeSlave(input, node, index, register)),
  );
  return made.map((each) => {
    if (each.status === 'fulfilled') return each.value;
    throw each.reason;
  });
}

function makeSlave(input: MountInput, node: string, index: number, register: Register): Promise<SlaveRef> {
  const name = undoSlave(input, index, register);
  const mountUid = workflowInfo().firstExecutionRunId;
  return createSlave.executeWithOptions({ summary: `create slave ${name}` }, [
    { signed: input, mountUid, index, node },
  ]);
}

/** Registers the undo of a slave, which may be there or not. Answers its name. */
function undoSlave(input: MountInput, index: number, register: Register): string {
  const { name: mount, target } = input.request;
  const mountUid = workflowInfo().firstExecutionRunId;
  const name = slaveName(target.pod, mountUid, index);
  const { namespace, podUid: targetUid } = target;
  register(`slave pod ${namespace}/${name}`, () =>
    deleteSlave.executeWithOptions({ summary: `undo: delete slave ${name}` }, [{ namespace, name, mount, targetUid }]),
  );
  return name;
}

/** Attaches while the scheduler still decides: the slave is pinned, so that the node is known. The first failure ends both. */
async function attach(
  doing: Doing,
  node: string,
  slaves: readonly SlaveRef[],
  register: Register,
): Promise<AttachResult> {
  const { input } = doing;
  const { name, target, queue } = input.request;
  const mounts = [{ namespace: target.namespace, name }];
  let begun = false;
  const names = slaves.map(({ name: slave }) => slave).join(', ');
  register(`devices of slave ${names} in container ${target.container}`, async () => {
    if (!begun) return;
    const what = { mounts, slaves, force: true };
    const { podUid: targetUid } = target;
    const made = slaves.map((slave) => ({ namespace: slave.namespace, name: slave.name, mount: name, targetUid }));
    await detachInUse(() => detachPatiently(node, what, `undo: detach from ${target.pod}`), made);
  });
  // One that waits for a free device would only keep the node worker from the others.
  const schedule = (): Promise<unknown> => Promise.all(slaves.map((slave) => scheduled(doing, slave)));
  if (queue) await queued(doing, slaves, schedule);
  return CancellationScope.cancellable(async () => {
    const scope = CancellationScope.current();
    const watching = queue ? undefined : schedule();
    const attaching = attachOnNode(node, { signed: input, slaves }, `attach to ${target.pod}`, () => {
      begun = true;
    });
    try {
      // The scheduler's answer alone is not the end; an attach is, since it shows that there was one.
      return await Promise.race([attaching, watching?.then(() => attaching) ?? attaching]);
    } finally {
      scope.cancel();
      await Promise.allSettled([attaching, watching]);
    }
  });
}

/** Mounts that wait since before there was a signal for it go on as they began. */
async function queued(
  { input, record, queue }: Doing,
  slaves: readonly SlaveRef[],
  schedule: () => Promise<unknown>,
): Promise<void> {
  if (!patched('queue-by-signal')) {
    await schedule();
    return;
  }
  const tell = (message: string): void => record.change({ message });
  await Promise.all(slaves.map((slave) => queue.scheduled(slave, input.request.target, tell)));
}

/** @throws InsufficientDevices at once when the request does not queue */
async function scheduled({ input, record }: Doing, slave: SlaveRef): Promise<void> {
  const { target, queue } = input.request;
  let known: string | undefined;
  for (;;) {
    const said = await awaitScheduled.executeWithOptions({ summary: `await a node for ${slave.name}` }, [
      { slave, target, ...(known !== undefined && { known }) },
    ]);
    if (said.scheduled) return;
    if (!queue) throw fail('InsufficientDevices', `Cannot schedule slave pod "${slave.name}": ${said.message}`);
    known = said.message;
    record.change({ message: known });
  }
}
