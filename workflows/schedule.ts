import {
  type Client,
  ScheduleAlreadyRunning,
  type ScheduleDescription,
  ScheduleNotFoundError,
} from '@temporalio/client';
import { CONTROL_QUEUE } from '../contract/names.ts';
import { RECONCILE_SCHEDULE, type ReconcileInput, WORKFLOWS } from '../contract/workflows.ts';

const MINUTE_MS = 60_000;
const INPUT: ReconcileInput = {};

/** A slow run makes the next one late, not double; runs missed while Temporal was away are not made up for. */
const POLICIES = { overlap: 'SKIP', catchupWindow: MINUTE_MS } as const;

const ACTION = {
  type: 'startWorkflow',
  workflowType: WORKFLOWS.reconcile,
  workflowId: `${RECONCILE_SCHEDULE}-workflow`,
  taskQueue: CONTROL_QUEUE,
  args: [INPUT],
  // A run that hangs would keep all others from beginning.
  workflowRunTimeout: 10 * MINUTE_MS,
} as const;

/**
 * Has `reconcileMounts` run every `periodSeconds`. A Schedule of another release, or that somebody has changed, is set right;
 * whether it is paused is left to the operator.
 */
export async function ensureSchedule(client: Client, periodSeconds: number): Promise<void> {
  const wanted = { spec: { intervals: [{ every: periodSeconds * 1_000 }] }, policies: POLICIES, action: ACTION };
  const schedule = client.schedule.getHandle(RECONCILE_SCHEDULE);
  try {
    if (isAsWanted(await schedule.describe(), wanted)) return;
    await schedule.update(({ state }) => ({ ...wanted, state }));
  } catch (err) {
    if (!(err instanceof ScheduleNotFoundError)) throw err;
    await create(client, wanted);
  }
}

type Wanted = Pick<Parameters<Client['schedule']['create']>[0], 'spec' | 'policies' | 'action'>;

async function create(client: Client, wanted: Wanted): Promise<void> {
  try {
    await client.schedule.create({ scheduleId: RECONCILE_SCHEDULE, ...wanted });
  } catch (err) {
    // Another control worker was faster.
    if (!(err instanceof ScheduleAlreadyRunning)) throw err;
  }
}

/** Compares what we set, in the order in which we set it; Temporal answers many defaults beside that. */
function isAsWanted({ spec, policies, action }: ScheduleDescription, wanted: Wanted): boolean {
  const calendars = [...(spec.calendars ?? []), ...(spec.skip ?? [])];
  const intervals = spec.intervals?.map(({ every }) => ({ every }));
  const { overlap, catchupWindow } = policies;
  const { type, workflowType, workflowId, taskQueue, args, workflowRunTimeout } = action;
  const is = {
    spec: { intervals },
    policies: { overlap, catchupWindow },
    action: { type, workflowType, workflowId, taskQueue, args, workflowRunTimeout },
  };
  return calendars.length === 0 && JSON.stringify(is) === JSON.stringify(wanted);
}
