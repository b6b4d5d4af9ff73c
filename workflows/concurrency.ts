import type { WorkerOptions } from '@temporalio/worker';
import type { ClusterActivities } from '../activities/cluster-activities.ts';
import { ActivitySlots } from './activity-slots.ts';

/** What this process does at a time of each kind. Its one thread is busy with less. */
const AT_ONCE = 10;
/** They take no processor time, only memory. */
const WAITING: readonly (keyof ClusterActivities)[] = ['deleteSlave'];

/** Fewer than the SDK would take on: what is begun ends in time, and what is not is left in the queue of Temporal. */
export function concurrency(
  atOnce = AT_ONCE,
): Pick<WorkerOptions, 'tuner' | 'workflowTaskPollerBehavior' | 'activityTaskPollerBehavior'> {
  const slots = { type: 'fixed-size', numSlots: atOnce } as const;
  return {
    tuner: {
      workflowTaskSlotSupplier: slots,
      activityTaskSlotSupplier: new ActivitySlots(atOnce, WAITING),
      localActivityTaskSlotSupplier: slots,
      nexusTaskSlotSupplier: slots,
    },
    workflowTaskPollerBehavior: { type: 'autoscaling', minimum: 2, initial: 4, maximum: atOnce },
    activityTaskPollerBehavior: { type: 'autoscaling', minimum: 1, initial: 4, maximum: atOnce },
  };
}
