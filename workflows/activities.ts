import {
  ActivityFailure,
  ApplicationFailure,
  isCancellation,
  proxyActivities,
  proxyLocalActivities,
} from '@temporalio/workflow';
import type { ClusterActivities } from '../activities/cluster-activities.ts';
import {
  ADOPT,
  CHECK,
  CHECK_AT_ONCE,
  CONFIRM,
  DELETE,
  FIRST_OBJECT,
  PROJECT,
  PUBLISH,
  RESERVE,
  RESERVE_AT_ONCE,
  SURVEY,
} from './timeouts.ts';

export const { nodeState, shortage, targetState, adoptMount, settleMount, tellOwner } =
  proxyActivities<ClusterActivities>(CHECK);
export const { checkAdoption } = proxyActivities<ClusterActivities>(ADOPT);
export const { deleteSlave } = proxyActivities<ClusterActivities>(DELETE);
export const { publish, publishFailedUnmount } = proxyActivities<ClusterActivities>(PUBLISH);
export const { surveyMounts } = proxyActivities<ClusterActivities>(SURVEY);
export const { confirmMounts, showMount } = proxyActivities<ClusterActivities>(CONFIRM);
export const { projectMount } = proxyActivities<ClusterActivities>(PROJECT);
export const { projectMount: firstObject } = proxyLocalActivities<ClusterActivities>(FIRST_OBJECT);
export const reserveDevices = atOnce(
  proxyLocalActivities<ClusterActivities>(RESERVE_AT_ONCE).reserveDevices,
  proxyActivities<ClusterActivities>(RESERVE).reserveDevices,
);
export const findMounts = atOnce(
  proxyLocalActivities<ClusterActivities>(CHECK_AT_ONCE).findMounts,
  proxyActivities<ClusterActivities>(CHECK).findMounts,
);

/** Whether trying a step again would not help. */
export function isFinal(err: unknown): boolean {
  const cause = err instanceof ActivityFailure ? err.cause : undefined;
  return cause instanceof ApplicationFailure && cause.nonRetryable === true;
}

/**
 * A short step on the way to an answer: tried once by the process that has the workflow at hand, with no round through Temporal; when that
 * fails and may pass, a step that Temporal shows and repeats. Not while something else is being cancelled: what comes of both would be repeated in
 * another order (https://github.com/temporalio/sdk-rust/issues/803).
 */
function atOnce<Input, Answer>(
  first: (input: Input) => Promise<Answer>,
  again: { executeWithOptions(options: { readonly summary: string }, args: [Input]): Promise<Answer> },
): (summary: string, input: Input) => Promise<Answer> {
  return async (summary, input) => {
    try {
      return await first(input);
    } catch (err) {
      if (isCancellation(err) || isFinal(err)) throw err;
      return again.executeWithOptions({ summary }, [input]);
    }
  };
}
