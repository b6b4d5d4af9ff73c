import { Client, Connection, WorkflowNotFoundError } from '@temporalio/client';
import { NativeConnection, Worker } from '@temporalio/worker';
import type { Logger } from 'pino';
import { mountWorkflowId, nodeQueue } from '../contract/names.ts';
import type { MountRef, NodeActivities } from '../contract/node-activities.ts';
import { SIGNALS } from '../contract/workflows.ts';
import { ClusterClaim, NameOfAnotherCluster } from '../process/cluster-claim.ts';
import type { ClusterIdentity } from '../process/cluster-identity.ts';
import { pause } from '../process/pause.ts';
import type { TemporalAccess } from '../process/temporal-access.ts';
import type { Notice } from './state/mount-record.ts';

export interface TemporalOptions {
  readonly access: TemporalAccess;
  /** Rejects while kube-apiserver has not been reached yet. */
  readonly identity: () => Promise<ClusterIdentity>;
  readonly node: string;
  readonly activities: NodeActivities;
  readonly log: Logger;
  /** How often the name of the cluster is confirmed, in milliseconds. */
  readonly keepMs?: number;
}

/** Between two tries to reach Temporal, in milliseconds. */
const RETRY_MS = 1_000;
/** How often an API key that may have changed is handed on, and the name of the cluster confirmed, in milliseconds. */
const KEEP_MS = 15_000;
/** What is being changed ends in milliseconds; an attach that waits for the kubelet is tried again by its workflow. */
const SHUTDOWN_GRACE = '5s';
/** The pod has 35 s. */
const SHUTDOWN_FORCE = '25s';

/** Serves this node's task queue for as long as it is not stopped, whether Temporal is there or not. */
export class NodeTaskWorker {
  readonly #options: TemporalOptions;
  #worker: Worker | undefined;
  #problem = 'not connected to Temporal';
  readonly #stopping = new AbortController();
  #done: Promise<void> | undefined;

  constructor(options: TemporalOptions) {
    this.#options = options;
  }

  /** What is wrong now, for the readiness check. */
  get problem(): string | undefined {
    return this.#worker?.getState() === 'RUNNING' ? undefined : this.#problem;
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
    while (!signal.aborted) {
      try {
        await this.#serveOnce();
      } catch (err) {
        const problem = `does not serve: ${err instanceof Error ? err.message : String(err)}`;
        if (problem !== this.#problem) this.#options.log.warn({ err }, 'cannot serve mounts yet, trying again');
        this.#problem = problem;
      }
      await pause(RETRY_MS, signal);
    }
  }

  async #serveOnce(): Promise<void> {
    const { access, identity, node, activities, log, keepMs = KEEP_MS } = this.#options;
    const { name } = await identity();
    const { namespace, dataConverter, apiKey } = access;
    const connection = await NativeConnection.connect({
      ...access.connection,
      ...(apiKey !== undefined && { apiKey: apiKey() }),
    });
    const claim = new ClusterClaim(identity, { connection, namespace });
    const taskQueue = nodeQueue(name, node);
    const keeping = setInterval(() => void this.#keep(connection, claim), keepMs);
    try {
      // Tasks in a queue of another cluster are not for this node.
      await claim.confirm();
      this.#worker = await Worker.create({
        connection,
        namespace,
        dataConverter,
        taskQueue,
        activities,
        // Each attach that waits for the kubelet holds a slot, and a detach must never wait for those.
        maxConcurrentActivityTaskExecutions: 1_000,
        activityTaskPollerBehavior: { type: 'autoscaling', minimum: 1, initial: 1, maximum: 4 },
        shutdownGraceTime: SHUTDOWN_GRACE,
        shutdownForceTime: SHUTDOWN_FORCE,
      });
      log.info({ queue: taskQueue }, 'serving');
      if (!this.#stopping.signal.aborted) await this.#worker.run();
    } finally {
      clearInterval(keeping);
      this.#worker = undefined;
      await connection.close();
    }
  }

  async #keep(connection: NativeConnection, claim: ClusterClaim): Promise<void> {
    const { access, log } = this.#options;
    if (access.apiKey !== undefined) await connection.setApiKey(access.apiKey()).catch(() => undefined);
    try {
      await claim.confirm(0);
    } catch (err) {
      if (!(err instanceof NameOfAnotherCluster) || this.#worker?.getState() !== 'RUNNING') return;
      log.error(err.message);
      // The next try to serve waits until the name is this cluster's again.
      this.#worker.shutdown();
    }
  }
}

/** Tells a mount's workflow something; tries until Temporal answers or `signal` is aborted. */
export function ownerTeller(
  { access, identity, log }: Pick<TemporalOptions, 'access' | 'identity' | 'log'>,
  signal: AbortSignal,
  retryMs = RETRY_MS,
): (mount: MountRef, notice: Notice) => Promise<void> {
  const { namespace, dataConverter, apiKey } = access;
  const connection = Connection.lazy({ ...access.connection, ...(apiKey !== undefined && { apiKey }) });
  const client = new Client({ connection, namespace, dataConverter });
  const claim = new ClusterClaim(identity, { connection, namespace });
  const signalOwner = async (mount: MountRef, notice: Notice): Promise<void> => {
    // The mount of that name in another cluster has nothing to do with it.
    await claim.confirm();
    const id = mountWorkflowId(await claim.name(), mount.namespace, mount.name);
    const handle = client.workflow.getHandle(id);
    await handle.signal(SIGNALS[notice.signal], ...argumentsOf(notice));
  };
  return async (mount, notice) => {
    for (let attempt = 0; ; attempt++) {
      signal.throwIfAborted();
      try {
        await connection.withDeadline(Date.now() + 5_000, () => signalOwner(mount, notice));
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
