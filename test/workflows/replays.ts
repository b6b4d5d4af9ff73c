import type { HistoryAndWorkflowId } from '@temporalio/client';
import { Worker } from '@temporalio/worker';

/**
 * In a thread, as workflows run: by default the SDK (1.24.0) replays in this one, and from then on calls a hook of its own at every promise
 * of this process, whoever made it. Its types leave the option out.
 */
const IN_A_THREAD = { debugMode: false };

/** Of each history: the ID of its workflow, and why these workflows do not repeat it, if so. */
export async function* replays(
  code: string,
  histories: AsyncIterable<HistoryAndWorkflowId>,
): AsyncGenerator<{ readonly workflowId: string; readonly problem: string | undefined }> {
  const options = { ...IN_A_THREAD, workflowBundle: { code } };
  for await (const { workflowId, error } of Worker.runReplayHistories(options, histories))
    yield { workflowId, problem: error?.message };
}
