import {
  allHandlersFinished,
  CancellationScope,
  CancelledFailure,
  ContinueAsNew,
  condition,
  defineQuery,
  isCancellation,
  makeContinueAsNewFunc,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { DeviceMount } from '../contract/device-mount.ts';
import { fail } from '../contract/failures.ts';
import { mountWorkflowId } from '../contract/names.ts';
import { type MountInput, QUERIES } from '../contract/workflows.ts';
import { checkAdoption } from './activities.ts';
import { establish } from './establish.ts';
import { hold } from './hold.ts';
import { ENDS, type End, failureOfSlave, MountEnds } from './mount-ends.ts';
import { MountOutcome } from './mount-outcome.ts';
import { MountParts } from './mount-parts.ts';
import { PluginRestart } from './plugin-restart.ts';
import { onSignal } from './signals.ts';
import { SlaveScheduling } from './slave-scheduling.ts';
import { newMount, type StatusChange, StatusRecord } from './status-record.ts';
import { SHOW_MS } from './timeouts.ts';

/** Of Events of one reason about what the node says, at least. */
const REPORT_PERIOD_MS = 60_000;

/**
 * Mounts devices into a running container and stays open as long as they are mounted.
 *
 * Ends `Completed` when the devices were given back because somebody asked, the lease ended or the target ended; `Canceled`
 * after a Cancel, which gives them back too; `Failed` with the type of the failure when the mount was not made, when a slave
 * was taken away from it, or when something could not be given back.
 *
 * @param carried the mount of the run before, after continue-as-new; or one that has lost its owner, to be adopted
 */
export async function mountDevices(input: MountInput, carried?: DeviceMount): Promise<DeviceMount> {
  checkId(input);
  const record = new StatusRecord(input, carried ?? newMount(input.request));
  const refused = (message: string): void => record.change({ message });
  const ends = new MountEnds(record.slaves, refused);
  const parts = new MountParts(record, ends, refused);
  const scheduling = new SlaveScheduling(refused);
  const outcome = new MountOutcome(record);
  const restart = new PluginRestart(input.request);
  setHandler(defineQuery<DeviceMount>(QUERIES.deviceMount), () => record.mount, {
    description: 'The DeviceMount as it is now.',
  });
  handleChanges(record, ends, refused);
  try {
    if (carried === undefined) await establish({ input, record, ends, outcome, scheduling, restart });
    // A new run of this workflow goes on unchecked. Another workflow could pass for one, and gain nothing: each step checks for itself.
    else if (workflowInfo().continuedFromExecutionRunId === undefined) {
      await checkAdoption.executeWithOptions({ summary: 'check what is adopted' }, [{ signed: input, mount: carried }]);
    }
    return await released(record, await held(record, ends, parts));
  } catch (err) {
    await parts.settled();
    return await failed(record, outcome, err);
  }
}

/** Answers why the mount has ended; until then it goes on in a new run whenever its history has become long. */
async function held(record: StatusRecord, ends: MountEnds, parts: MountParts): Promise<End> {
  for (;;) {
    const end = await hold({ record, ends });
    await parts.settled();
    if (end !== 'continueAsNew') return end;
    await answered();
    await record.projection.told();
    // The new run would know nothing of a signal or a Cancel that has come while this one waited.
    if (ends.next === undefined && !CancellationScope.current().consideredCancelled) await continueAsNew(record);
  }
}

function continueAsNew({ signed, mount }: StatusRecord): Promise<DeviceMount> {
  // A new run is given what the first one was started with, unless told otherwise: a mount that is Pending.
  const { memo = {}, typedSearchAttributes } = workflowInfo();
  return makeContinueAsNewFunc<typeof mountDevices>({ memo, typedSearchAttributes })(signed, mount);
}

/** Signals that do not always end the mount. */
function handleChanges(record: StatusRecord, ends: MountEnds, refused: (why: string) => void): void {
  onSignal('renew', refused, ({ leaseSeconds }) => {
    if (record.status.phase === 'Mounted') record.renew(leaseSeconds);
  });
  const report = reporter(record, 'MendDevice');
  const warn = reporter(record, 'DeviceDegraded');
  onSignal('containerRestarted', refused, async ({ containerId, reapplied }) => {
    if (reapplied) await report(`The container was restarted; its devices are in the new one, ${containerId}`);
    else ends.add({ kind: 'containerRestarted' });
  });
  onSignal('driftHealed', refused, ({ at, what }) => report(`Healed at ${at}: ${what}`, { degraded: undefined }));
  onSignal('degraded', refused, ({ at, why: message }) =>
    warn(`Degraded since ${at}: ${message}`, { degraded: { since: timeOf(at), message } }),
  );
  onSignal('project', refused, () => record.projection.show());
}

/** RFC 3339, of what anyone may have sent. */
function timeOf(at: string): string {
  const ms = Date.parse(at);
  return new Date(Number.isNaN(ms) ? Date.now() : ms).toISOString();
}

/** Shows what the node says, in the record and as an Event: not each time, since somebody may do the same again and again. */
function reporter(
  record: StatusRecord,
  reason: 'MendDevice' | 'DeviceDegraded',
): (message: string, change?: StatusChange) => Promise<void> {
  let toldAt = Number.NEGATIVE_INFINITY;
  return async (message, change) => {
    const isDue = Date.now() - toldAt >= REPORT_PERIOD_MS;
    if (isDue) toldAt = Date.now();
    record.change({ ...change, message }, isDue ? { type: 'Warning', reason, message } : undefined);
    await record.projection.told();
  };
}

/** The ID is the lock on the name, which a client of Temporal could otherwise go round. */
function checkId({ request }: MountInput): void {
  const { workflowId } = workflowInfo();
  const { cluster, name, target } = request;
  if (workflowId === mountWorkflowId(cluster, target.namespace, name)) return;
  throw fail(
    'BadRequest',
    `Cannot mount "${request.name}": the workflow ID must be that of the mount, is "${workflowId}"`,
  );
}

/** Waits until every caller has its answer, also after a Cancel. */
async function answered(): Promise<void> {
  await CancellationScope.nonCancellable(() => condition(allHandlersFinished));
}

async function released(record: StatusRecord, end: End): Promise<DeviceMount> {
  const { reason } = ENDS[end.kind];
  const isFailure = end.kind === 'slaveEnding';
  record.change(
    { phase: isFailure ? 'Failed' : 'Released', reason, devices: [], slaves: [] },
    {
      type: isFailure ? 'Warning' : 'Normal',
      reason: 'UnMountDevice',
      message: `Unmounted: ${reason}${byWhom(end)}`,
    },
  );
  await shown(record);
  await answered();
  if (end.kind === 'canceled') throw new CancelledFailure('the mount was cancelled and its devices were given back');
  if (end.kind === 'slaveEnding') throw failureOfSlave(record.mount.metadata.name, end);
  return record.mount;
}

/** Waits until the target has been told of the end and, for a while, until the object shows it. */
async function shown({ projection }: StatusRecord): Promise<void> {
  await projection.told();
  await projection.settled(SHOW_MS.ended);
}

function byWhom(end: End): string {
  return 'by' in end && end.by !== undefined ? ` by ${end.by}` : '';
}

async function failed(record: StatusRecord, outcome: MountOutcome, err: unknown): Promise<never> {
  // To the SDK continue-as-new is an error, too, and the failures of `released` come by here.
  if (err instanceof ContinueAsNew) throw err;
  if (record.status.phase === 'Released' || record.status.phase === 'Failed') throw err;
  const failure = outcome.undone(err);
  record.change(
    {
      phase: 'Failed',
      reason: failure.type,
      message: failure.message,
      ...(failure.type !== 'RollbackIncomplete' && { slaves: [], devices: [] }),
    },
    { type: 'Warning', reason: 'MountDeviceFailed', message: failure.message },
  );
  await answered();
  await shown(record);
  if (isCancellation(err)) throw err;
  throw failure;
}
