import { type Client, ScheduleAlreadyRunning } from '@temporalio/client';
import { CONTROL_QUEUE } from '../contract/names.ts';
import { RECONCILE_SCHEDULE, type ReconcileInput, WORKFLOWS } from '../contract/workflows.ts';

/** A slow run makes the next one late, not double; runs missed while Temporal was away are not made up for. */
const POLICIES = { overlap: 'SKIP', catchupWindow: '1m' } as const;

/** Has `reconcileMounts` run every minute. What an operator has changed about an existing Schedule stays. */
export async function ensureSchedule(client: Client): Promise<void> {
  const input: ReconcileInput = {};
  try {
    await client.schedule.create({
      scheduleId: RECONCILE_SCHEDULE,
      spec: { intervals: [{ every: '1m' }] },
      policies: POLICIES,
      action: { type: 'startWorkflow', workflowType: WORKFLOWS.reconcile, taskQueue: CONTROL_QUEUE, args: [input] },
    });
  } catch (err) {
    if (!(err instanceof ScheduleAlreadyRunning)) throw err;
  }
}
