import { CancellationScope, condition, workflowInfo } from '@temporalio/workflow';
import type { SlaveRef } from '../contract/device-mount.ts';
import { fail, failureOf } from '../contract/failures.ts';
import { slaveName } from '../contract/names.ts';
import type { AttachResult } from '../contract/node-activities.ts';
import { type MountRequest, sharesOf } from '../contract/requests.ts';
import type { MountInput } from '../contract/workflows.ts';
import { deleteSlave, reserveDevices } from './activities.ts';
import { detachInUse } from './detach-in-use.ts';
import { endOfTarget } from './hold.ts';
import { failureOfEnd, type MountEnds } from './mount-ends.ts';
import type { MountOutcome } from './mount-outcome.ts';
import { attachOnNode, detachPatiently } from './node.ts';
import type { PluginRestart } from './plugin-restart.ts';
import { type Register, saga } from './saga.ts';
import type { SlaveScheduling } from './slave-scheduling.ts';
import { madeSlaves } from './slaves.ts';
import type { StatusRecord } from './status-record.ts';

export interface MountContext {
  readonly input: MountInput;
  readonly record: StatusRecord;
  readonly ends: MountEnds;
  readonly outcome: MountOutcome;
  readonly scheduling: SlaveScheduling;
  readonly restart: PluginRestart;
}

/**
 * Makes the mount within the deadline of its request, or undoes what was begun. Begins again when a slave was refused because its device plugin
 * restarts.
 * @param turn `again`: after such a restart
 * @throws any of `FAILURES`, or a cancellation, when all is undone; RollbackIncomplete when it is not
 */
export async function establish(context: MountContext, turn: 'first' | 'again' = 'first'): Promise<void> {
  const { input, record, restart } = context;
  const { request } = input;
  const scope = new CancellationScope();
  const guard = new CancellationScope();
  let stopped: unknown;
  let isToBeginAgain = false;
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
          if (turn === 'again') await restart.pause();
          await steps(context, register);
        } catch (err) {
          // The undo ends the slave, which must not be taken for the reason.
          guard.cancel();
          stopped ??= err;
          if (failureOf(stopped)?.type === 'SlaveEnded') {
            stopped = await reasonBehind(context, stopped);
            isToBeginAgain = await restart.explains(stopped, record.status, remainingMs(request));
          }
          if (!isToBeginAgain) context.outcome.failed(stopped);
          throw err;
        }
      }),
    );
  } catch (err) {
    if (failureOf(err)?.type === 'RollbackIncomplete') throw err;
    if (!isToBeginAgain) throw stopped ?? err;
  } finally {
    guard.cancel();
  }
  if (!isToBeginAgain) return;
  // What is still told of these slaves does not count any more.
  record.change({ slaves: [], message: `Trying again: ${failureOf(stopped)?.message}` });
  await establish(context, 'again');
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
  const mountUid = workflowInfo().firstExecutionRunId;
  // Before they are made, since a step that timed out may have made them; after a reset there may be some already.
  sharesOf(request).forEach((_share, index) =>
    undoSlave(input, slaveName(request.target.pod, mountUid, index), register),
  );
  const { mount } = record;
  const reservation = await reserveDevices(`reserve for ${request.target.pod}`, { signed: input, mountUid, mount });
  record.reserved(reservation, mount);
  const { node, slaves } = reservation;
  const { devices, warnings } = await attach(context, node, slaves, register);
  // While no worker runs, the deadline passes unseen; the caller has been told that all is undone.
  if (remainingMs(request) <= 0) throw timeoutOf(request);
  const now = Date.now();
  const paths = devices.flatMap(({ nodes }) => nodes.map(({ path }) => path)).join(', ');
  record.change(
    {
      phase: 'Mounted',
      devices,
      warnings,
      mountedAt: new Date(now).toISOString(),
      message: undefined,
      ...(request.leaseSeconds !== undefined && {
        leaseEndsAt: new Date(now + request.leaseSeconds * 1_000).toISOString(),
      }),
    },
    {
      type: 'Normal',
      reason: 'MountDevice',
      message: `Mounted ${paths} in container ${record.mount.spec.container}`,
    },
  );
}

type Doing = Pick<MountContext, 'input' | 'record' | 'scheduling' | 'restart'>;

function undoSlave({ request }: MountInput, name: string, register: Register): void {
  const { namespace, podUid: targetUid } = request.target;
  register(`slave pod ${namespace}/${name}`, () =>
    deleteSlave.executeWithOptions({ summary: `undo: delete slave ${name}` }, [
      { namespace, name, mount: request.name, targetUid },
    ]),
  );
}

/** Attaches while the scheduler still decides: the slave is pinned, so that the node is known. The first failure ends both. */
async function attach(
  doing: Doing,
  node: string,
  slaves: readonly SlaveRef[],
  register: Register,
): Promise<AttachResult> {
  const { input, record, scheduling } = doing;
  const { name, target, queue } = input.request;
  const mounts = [{ namespace: target.namespace, name }];
  let begun = false;
  const names = slaves.map(({ name: slave }) => slave).join(', ');
  register(`devices of slave ${names} in container ${target.container}`, async () => {
    if (!begun) return;
    const what = { mounts, slaves, force: true };
    const made = madeSlaves(slaves, { mount: name, targetUid: target.podUid });
    await detachInUse(() => detachPatiently(node, what, `undo: detach from ${target.pod}`), made);
  });
  // One that waits for a free device would only keep the node worker from the others.
  const tell = (message: string): void => record.change({ message });
  if (queue) await Promise.all(slaves.map((slave) => scheduling.scheduled(slave, tell)));
  return CancellationScope.cancellable(async () => {
    const scope = CancellationScope.current();
    const attaching = attachOnNode(node, { signed: input, slaves }, `attach to ${target.pod}`, () => {
      begun = true;
    });
    // A mount that queues has waited for that.
    const refusing = refused(doing, slaves);
    try {
      return await Promise.race([attaching, refusing]);
    } finally {
      scope.cancel();
      await Promise.allSettled([attaching, refusing]);
    }
  });
}

/**
 * Waits until the scheduler has no node for a slave, and that is not because its device plugin restarts: then it finds one later.
 * @throws InsufficientDevices, with the scheduler's words
 */
async function refused({ input, record, scheduling, restart }: Doing, slaves: readonly SlaveRef[]): Promise<never> {
  for (;;) {
    const refusal = await scheduling.refusal(slaves);
    if (!(await restart.explains(refusal, record.status, remainingMs(input.request)))) throw refusal;
    record.change({ message: refusal.message });
    await restart.pause();
  }
}
