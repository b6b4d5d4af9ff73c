import type { ActivityOptions, LocalActivityOptions } from '@temporalio/workflow';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;

/** Time for all tries of a step that cleans up; then `RollbackIncomplete` names what is left, and the reconciler goes on. */
export const PATIENCE_MS = 10 * MINUTE;

/** How long after a failure the caller of `mounted` waits for the undo before it is told that the undo goes on. */
export const ANSWER_MS = 3 * SECOND;

/**
 * Time that a task may lie in a node's queue before the Lease of its worker is looked at. Short, since nothing else tells
 * that a worker is absent; a worker that is merely busy only makes the task be queued again.
 */
const NODE_QUEUE_MS = 5 * SECOND;

/** A request to kube-apiserver is answered within its own 60 s or not at all; ours take milliseconds. */
const REQUEST_MS = 10 * SECOND;

/**
 * A worker that has died is replaced after this time, and who waits for a mount is told of one that stands still, within the longest answer.
 * Each beat is two writes of Temporal's database: with 10 s, most of what it wrote for 300 mounts at once was beats of those that waited.
 */
const HEARTBEAT_MS = 15 * SECOND;

/** Quick at first: most errors are a connection that a restart has broken. */
const RETRY = { initialInterval: 200, backoffCoefficient: 2, maximumInterval: 5 * SECOND } as const;

/** Checks: whoever asked waits, so an unclear answer is told soon. A cancelled check changes nothing, so it is left alone. */
export const CHECK: ActivityOptions = {
  startToCloseTimeout: REQUEST_MS,
  retry: { ...RETRY, maximumAttempts: 5 },
  cancellationType: 'TRY_CANCEL',
};

/** An unclear answer must not end a mount that is there. A Cancel does. */
export const ADOPT: ActivityOptions = {
  startToCloseTimeout: REQUEST_MS,
  retry: { ...RETRY, maximumInterval: MINUTE },
  cancellationType: 'TRY_CANCEL',
};

/**
 * What makes something: on cancellation its end is waited for, so that the undo meets a settled state. Its tries outlast a restart of
 * kube-apiserver, unless the deadline of the mount comes first.
 */
export const RESERVE: ActivityOptions = {
  startToCloseTimeout: REQUEST_MS,
  retry: { ...RETRY, maximumAttempts: 8 },
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
};

/** One try in the process that has the workflow at hand, before a step of its own. */
export const CHECK_AT_ONCE: LocalActivityOptions = {
  startToCloseTimeout: REQUEST_MS,
  retry: { maximumAttempts: 1 },
  cancellationType: 'TRY_CANCEL',
};
export const RESERVE_AT_ONCE: LocalActivityOptions = {
  ...CHECK_AT_ONCE,
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
};

/** A pod ends within its grace of 1 s; a node that is away lets it take longer. */
export const DELETE: ActivityOptions = {
  scheduleToCloseTimeout: PATIENCE_MS,
  startToCloseTimeout: PATIENCE_MS,
  heartbeatTimeout: HEARTBEAT_MS,
  retry: { ...RETRY, maximumInterval: MINUTE },
};

/** Time for what is for readers, which waits in the queue behind hundreds of others when hundreds of mounts end at once. */
const READERS_MS = 5 * MINUTE;

/** Events and annotations are for readers: worth some tries, not worth keeping a workflow. */
export const PUBLISH: ActivityOptions = {
  scheduleToCloseTimeout: READERS_MS,
  startToCloseTimeout: REQUEST_MS,
  retry: RETRY,
};

/** The object of a mount is for readers: after that time the reconciler goes on with it. */
export const PROJECT: ActivityOptions = {
  scheduleToCloseTimeout: READERS_MS,
  startToCloseTimeout: REQUEST_MS,
  retry: RETRY,
};

/** How long the answer that a mount is made waits until its object is there, and the end of a mount until its object shows that. */
export const SHOW_MS = { mounted: 5 * SECOND, ended: 10 * SECOND } as const;

/** It is there already, as a rule. Where it is not, a step of its own waits, which keeps nothing else waiting. */
export const FIRST_OBJECT: LocalActivityOptions = { ...CHECK_AT_ONCE, startToCloseTimeout: SECOND };

/**
 * One try: the workflow itself tries again, since it must know whether a try may have begun on the node. On cancellation
 * nothing is waited for, since the node's tombstone stops an attach that still runs when its detach comes.
 */
export const ATTACH: ActivityOptions = {
  scheduleToStartTimeout: NODE_QUEUE_MS,
  startToCloseTimeout: 60 * MINUTE,
  heartbeatTimeout: HEARTBEAT_MS,
  retry: { maximumAttempts: 1 },
  cancellationType: 'TRY_CANCEL',
};

/** One try, for the same reason. With force it ends processes, which takes their grace of some seconds. */
export const DETACH: ActivityOptions = {
  scheduleToStartTimeout: NODE_QUEUE_MS,
  startToCloseTimeout: MINUTE,
  heartbeatTimeout: HEARTBEAT_MS,
  retry: { maximumAttempts: 1 },
};

/** A question to a node, which is asked again at the next survey. */
export const ASK_NODE: ActivityOptions = {
  scheduleToStartTimeout: NODE_QUEUE_MS,
  startToCloseTimeout: REQUEST_MS,
  retry: { maximumAttempts: 1 },
};

/** Lists all slaves and asks Temporal about each mount; some thousands take seconds. */
export const SURVEY: ActivityOptions = { startToCloseTimeout: MINUTE, retry: { ...RETRY, maximumAttempts: 2 } };

/** One try: a second one would do again what the first has done, and the next run of the reconciler goes on. */
export const CONFIRM: ActivityOptions = { startToCloseTimeout: MINUTE, retry: { maximumAttempts: 1 } };

/** Time for one repair of the reconciler: less than a minute, which is how often it runs by default. */
export const RECONCILE_MS = 50 * SECOND;

/** How long a device plugin may take to come back, from the first attempt that misses it: its image may have to be pulled. */
export const PLUGIN_RESTART_MS = 20 * SECOND;

/** Pause before a mount makes another slave, or looks again whether there are devices for its slave, for the `attempt`th time, from 0. */
export function mountRetryDelayMs(attempt: number): number {
  return Math.min(4 * SECOND, SECOND * 2 ** attempt);
}

/** Pause before the `attempt`th repetition of a node step, from 0: each try takes some 17 events of the history. */
export function nodeRetryDelayMs(attempt: number): number {
  return Math.min(MINUTE, RETRY.initialInterval * RETRY.backoffCoefficient ** attempt);
}
