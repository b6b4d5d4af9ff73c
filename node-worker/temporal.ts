import { Client, Connection, WorkflowNotFoundError } from '@temporalio/client';
import { NativeConnection, Worker } from '@temporalio/worker';
import type { Logger } from 'pino';
import { mountWorkflowId, nodeQueue } from '../contract/names.ts';
import type { MountRef, NodeActivities } from '../contract/node-activities.ts';
import { SIGNALS } from '../contract/workflows.ts';
import { pause } from '../process/pause.ts';
import type { TemporalAccess } from '../process/temporal-access.ts';
import type { Notice } from './state/mount-record.ts';

export interface TemporalOptions {
  readonly access: TemporalAccess;
  readonly node: string;
  readonly activities: NodeActivities;
  readonly log: Logger;
}

/** Between two tries to reach Temporal, in milliseconds. */
const RETRY_MS = 1_000;
/** How often an API key that may have changed is handed on, in milliseconds. */
const API_KEY_MS = 15_000;
/** What is being changed ends in milliseconds; an attach that waits for the kubelet is tried again by its workflow. */
const SHUTDOWN_GRACE = '5s';
/** The pod has 35 s. */
const SHUTDOWN_FORCE = '25s';

/** Serves this node's task queue for as long as it is not stopped, whether Temporal is there or not. */
export class NodeTaskWorker {
  readonly #options: TemporalOptions;
  #worker: Worker | undefined;
  readonly #stopping = new AbortController();
  #done: Promise<void> | undefined;

  constructor(options: TemporalOptions) {
    this.#options = options;
  }

  /** What is wrong now, for the readiness check. */
  get problem(): string | undefined {
    return this.#worker?.getState() === 'RUNNING' ? undefined : 'not connected to Temporal';
  }

  start(): void {
    this.#done ??= this.#serve();
  }

  /** Resolves when the tasks at hand have ended. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    if (this.#worker?.getState() === 'RUNNING') this.#worker.shutdown();
    await this.#done;
  }

  async #serve(): Promise<void> {
    const { signal } = this.#stopping;
    let lastProblem = '';
    while (!signal.aborted) {
      try {
        await this.#serveOnce();
        lastProblem = '';
      } catch (err) {
        const problem = err instanceof Error ? err.message : String(err);
        if (problem !== lastProblem) this.#options.log.warn({ err }, 'not connected to Temporal, trying again');
        lastProblem = problem;
      }
      await pause(RETRY_MS, signal);
    }
  }

  async #serveOnce(): Promise<void> {
    const { access, node, activities, log } = this.#options;
    const { namespace, dataConverter, apiKey } = access;
    const connection = await NativeConnection.connect({
      ...access.connection,
      ...(apiKey !== undefined && { apiKey: apiKey() }),
    });
    const keeping = apiKey && setInterval(() => void connection.setApiKey(apiKey()).catch(() => undefined), API_KEY_MS);
    try {
      this.#worker = await Worker.create({
        connection,
        namespace,
        dataConverter,
        taskQueue: nodeQueue(node),
        activities,
        // Each attach that waits for the kubelet holds a slot, and a detach must never wait for those.
        maxConcurrentActivityTaskExecutions: 1_000,
        activityTaskPollerBehavior: { type: 'autoscaling', minimum: 1, initial: 1, maximum: 4 },
        shutdownGraceTime: SHUTDOWN_GRACE,
        shutdownForceTime: SHUTDOWN_FORCE,
      });
      log.info({ queue: nodeQueue(node) }, 'serving');
      if (!this.#stopping.signal.aborted) await this.#worker.run();
    } finally {
      clearInterval(keeping);
      this.#worker = undefined;
      await connection.close();
    }
  }
}

/** Tells a mount's workflow something; tries until Temporal answers or `signal` is aborted. */
export function ownerTeller(
  { access, log }: Pick<TemporalOptions, 'access' | 'log'>,
  signal: AbortSignal,
  retryMs = RETRY_MS,
): (mount: MountRef, notice: Notice) => Promise<void> {
  const { namespace, dataConverter, apiKey } = access;
  const connection = Connection.lazy({ ...access.connection, ...(apiKey !== undefined && { apiKey }) });
  const client = new Client({ connection, namespace, dataConverter });
  return async (mount, notice) => {
    for (let attempt = 0; ; attempt++) {
      signal.throwIfAborted();
      try {
        const id = mountWorkflowId(mount.namespace, mount.name);
        await connection.withDeadline(Date.now() + 5_000, () =>
          client.workflow.getHandle(id).signal(SIGNALS[notice.signal], ...argumentsOf(notice)),
        );
        return;
      } catch (err) {
        if (err instanceof WorkflowNotFoundError) return;
        if (attempt === 0) log.warn({ err, mount, signal: notice.signal }, 'cannot tell a workflow, trying again');
        await pause(retryMs, signal);
      }
    }
  };
}

function argumentsOf(notice: Notice): readonly unknown[] {
  // Without a UID: the record of the mount says which slaves it needs.
  return notice.signal === 'slaveEnding' ? [undefined, notice.why] : [notice.argument];
}
