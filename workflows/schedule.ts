import {
  type Client,
  ScheduleAlreadyRunning,
  type ScheduleDescription,
  ScheduleNotFoundError,
} from '@temporalio/client';
import { controlQueue, reconcileSchedule } from '../contract/names.ts';
import { type ReconcileInput, WORKFLOWS } from '../contract/workflows.ts';

const MINUTE_MS = 60_000;
const INPUT: ReconcileInput = {};

/** A slow run makes the next one late, not double; runs missed while Temporal was away are not made up for. */
const POLICIES = { overlap: 'SKIP', catchupWindow: MINUTE_MS } as const;

function actionFor(cluster: string) {
  return {
    type: 'startWorkflow',
    workflowType: WORKFLOWS.reconcile,
    workflowId: `reconcile/${cluster}`,
    taskQueue: controlQueue(cluster),
    args: [INPUT],
    // A run that hangs would keep all others from beginning.
    workflowRunTimeout: 10 * MINUTE_MS,
  } as const;
}

/**
 * Has `reconcileMounts` of `cluster` run every `periodSeconds`. A Schedule of another release, or that somebody has changed, is set right;
 * whether it is paused is left to the operator.
 */
export async function ensureSchedule(client: Client, cluster: string, periodSeconds: number): Promise<void> {
  const intervals = [{ every: periodSeconds * 1_000 }];
  const wanted = { spec: { intervals }, policies: POLICIES, action: actionFor(cluster) };
  const scheduleId = reconcileSchedule(cluster);
  const schedule = client.schedule.getHandle(scheduleId);
  try {
    if (isAsWanted(await schedule.describe(), wanted)) return;
    await schedule.update(({ state }) => ({ ...wanted, state }));
  } catch (err) {
    if (!(err instanceof ScheduleNotFoundError)) throw err;
    await create(client, { scheduleId, ...wanted });
  }
}

type Schedule = Pick<Parameters<Client['schedule']['create']>[0], 'scheduleId' | 'spec' | 'policies' | 'action'>;

async function create(client: Client, wanted: Schedule): Promise<void> {
  try {
    await client.schedule.create(wanted);
  } catch (err) {
    // Another control worker was faster.
    if (!(err instanceof ScheduleAlreadyRunning)) throw err;
  }
}

/** Compares what we set, in the order in which we set it; Temporal answers many defaults beside that. */
function isAsWanted({ spec, policies, action }: ScheduleDescription, wanted: Omit<Schedule, 'scheduleId'>): boolean {
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
