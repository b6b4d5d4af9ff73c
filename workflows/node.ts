import {
  ActivityFailure,
  type ActivityOptions,
  ApplicationFailure,
  CancellationScope,
  isCancellation,
  proxyActivities,
  sleep,
  TimeoutFailure,
  workflowInfo,
} from '@temporalio/workflow';
import type { NodeState } from '../activities/node-state.ts';
import { nodeUnreachable } from '../contract/failures.ts';
import { clusterOfQueue, nodeQueue } from '../contract/names.ts';
import type {
  AttachInput,
  AttachResult,
  DetachInput,
  DetachResult,
  NodeActivities,
} from '../contract/node-activities.ts';
import { isFinal, nodeState } from './activities.ts';
import { ATTACH, DETACH, nodeRetryDelayMs, PATIENCE_MS } from './timeouts.ts';

/**
 * Attaches on `node`, however long its queue is.
 * @param onBegun told before the first try that may have begun, even if its answer never came
 * @throws NodeUnreachable when the Lease of its worker has lapsed, and the failures of `NodeActivities.attachDevices`
 */
export async function attachOnNode(
  node: string,
  input: AttachInput,
  summary: string,
  onBegun: () => void,
): Promise<AttachResult> {
  const { attachDevices } = nodeActivities(node, ATTACH);
  return persist(node, async () => {
    try {
      const result = await attachDevices.executeWithOptions({ summary }, [input]);
      onBegun();
      return result;
    } catch (err) {
      if (!neverBegan(err)) onBegun();
      throw err;
    }
  });
}

/**
 * Detaches on `node`, however long its queue is.
 * @param isEnough whether what has failed is not to be tried again
 * @throws DeviceBusy, NodeUnreachable, or what the last try failed with
 */
export async function detachOnNode(
  node: string,
  input: DetachInput,
  summary: string,
  isEnough = (): boolean => false,
): Promise<DetachResult> {
  const { detachDevices } = nodeActivities(node, DETACH);
  // Once begun, its end is waited for, so that whoever asked knows what was taken; a Cancel is heard between two tries.
  const detaching = (): Promise<DetachResult> =>
    CancellationScope.nonCancellable(() => detachDevices.executeWithOptions({ summary }, [input]));
  return persist(node, detaching, isEnough);
}

/**
 * Detaches as a clean-up: waits for a node worker that is away, up to `PATIENCE_MS`. A node that is no longer in the cluster
 * has nothing attached.
 * @throws DeviceBusy, NodeUnreachable
 */
export async function detachPatiently(
  node: string,
  input: DetachInput,
  summary: string,
): Promise<DetachResult | undefined> {
  return CancellationScope.withTimeout(PATIENCE_MS, async () => {
    for (let attempt = 0; ; attempt++) {
      try {
        return await detachOnNode(node, input, summary);
      } catch (err) {
        if (!(err instanceof ApplicationFailure) || err.type !== 'NodeUnreachable') throw err;
        if (await isGone(node)) return undefined;
        await sleep(nodeRetryDelayMs(attempt));
      }
    }
  });
}

/** Of the worker on `node` of the cluster whose control worker runs this. */
export function nodeActivities(node: string, options: ActivityOptions) {
  return proxyActivities<NodeActivities>({
    ...options,
    taskQueue: nodeQueue(clusterOfQueue(workflowInfo().taskQueue), node),
  });
}

/** Repeats `step` until it succeeds, fails for good or often enough, or the node's worker is gone. */
async function persist<T>(node: string, step: () => Promise<T>, isEnough = (): boolean => false): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await step();
    } catch (err) {
      if (isCancellation(err) || isFinal(err) || isEnough()) throw err;
      await checkAlive(node);
      if (!neverBegan(err)) await sleep(nodeRetryDelayMs(attempt));
    }
  }
}

/**
 * That kube-apiserver does not answer says nothing about the node.
 * @throws NodeUnreachable
 */
async function checkAlive(node: string): Promise<void> {
  const state = await stateOf(node).catch((err: unknown) => {
    if (isCancellation(err)) throw err;
    return undefined;
  });
  if (state === undefined || state === 'alive') return;
  throw nodeUnreachable(node);
}

async function isGone(node: string): Promise<boolean> {
  try {
    return (await stateOf(node)) === 'gone';
  } catch (err) {
    if (isCancellation(err)) throw err;
    return false;
  }
}

function stateOf(node: string): Promise<NodeState> {
  return nodeState.executeWithOptions({ summary: `is the node worker on ${node} alive` }, [{ node }]);
}

/** The task was never handed to a worker, and the server drops it, so that nothing can come of it any more. */
function neverBegan(err: unknown): boolean {
  const cause = err instanceof ActivityFailure ? err.cause : undefined;
  return cause instanceof TimeoutFailure && cause.timeoutType === 'SCHEDULE_TO_START';
}
