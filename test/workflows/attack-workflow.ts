import { proxyActivities } from '@temporalio/workflow';

/** Has any activity of any task queue run, as whoever can write to Temporal can. */
export async function runActivity(taskQueue: string, activity: string, input: object): Promise<unknown> {
  const activities = proxyActivities<Record<string, (input: unknown) => Promise<unknown>>>({
    taskQueue,
    startToCloseTimeout: '1m',
    retry: { maximumAttempts: 1 },
  });
  return activities[activity]?.(input);
}
