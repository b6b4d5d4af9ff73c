import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client, Connection, WithStartWorkflowOperation } from '@temporalio/client';
import { DefaultLogger, Runtime, Worker, type WorkerOptions } from '@temporalio/worker';
import { createClusterActivities } from '../../activities/cluster-activities.ts';
import type { Dependencies } from '../../activities/dependencies.ts';
import { temporalOwners } from '../../activities/owners.ts';
import { UsedRequests } from '../../activities/used-requests.ts';
import type { DeviceMount, DeviceMountList } from '../../contract/device-mount.ts';
import { CONTROL_QUEUE, mountWorkflowId, nodeQueue, unmountWorkflowId } from '../../contract/names.ts';
import type { NodeActivities } from '../../contract/node-activities.ts';
import type { MountRequest, Signed, UnmountRequest } from '../../contract/requests.ts';
import type { PublicKey } from '../../contract/signature.ts';
import { type ReconcileInput, type ReconcileReport, SIGNALS, UPDATES, WORKFLOWS } from '../../contract/workflows.ts';
import { type TemporalAccess, temporalAccess } from '../../process/temporal-access.ts';
import { BUNDLE_FILE } from './bundle-file.ts';
import { ControlWatches } from './control-watches.ts';
import { Gates } from './gates.ts';
import { MemoryCluster } from './memory-cluster.ts';
import { MemoryNode } from './memory-node.ts';
import { FUSE, NAMESPACE, PUBLIC_KEY } from './requests.ts';
import { TemporalServer } from './temporal-server.ts';
import { Workers } from './workers.ts';

async function plain(address: string): Promise<TemporalAccess> {
  return temporalAccess({ 'temporal-address': address, 'temporal-namespace': 'default' });
}

/** The control worker and node workers over a real Temporal server and a cluster in memory. */
export class Harness {
  readonly server: TemporalServer;
  readonly cluster = new MemoryCluster();
  readonly client: Client;
  readonly access: TemporalAccess;
  readonly bundle: string;
  /** Around the steps of all workers. */
  readonly gates = new Gates();
  /** That all workers know. */
  publicKeys: readonly PublicKey[] = [{ key: PUBLIC_KEY }];
  /** How far the control worker's clock is ahead. */
  aheadMs = 0;
  readonly #connection: Connection;
  /** Of the first control worker: those before it have stopped. */
  #watches: ControlWatches;
  readonly #workers: Workers;
  readonly #nodes = new Map<string, MemoryNode>();

  private constructor(
    server: TemporalServer,
    access: TemporalAccess,
    connection: Connection,
    workers: Workers,
    bundle: string,
  ) {
    this.server = server;
    this.access = access;
    this.#connection = connection;
    this.#workers = workers;
    this.bundle = bundle;
    this.client = new Client({ connection, dataConverter: access.dataConverter });
    this.#watches = new ControlWatches(this.cluster, this.client);
  }

  /**
   * @param settings more of Temporal's dynamic configuration, as `key=value`
   * @param reach makes another way to the server at `address`
   */
  static async start(settings: readonly string[] = [], reach = plain): Promise<Harness> {
    const logger = new DefaultLogger('ERROR', () => undefined);
    Runtime.install({ logger });
    const server = await TemporalServer.start(settings.flatMap((value) => ['--dynamic-config-value', value]));
    const bundle = readFileSync(BUNDLE_FILE, 'utf8');
    const access = await reach(server.address);
    const { apiKey } = access;
    const connection = await Connection.connect({ ...access.connection, ...(apiKey !== undefined && { apiKey }) });
    const harness = new Harness(server, access, connection, await Workers.connect(access), bundle);
    await harness.#workers.start(CONTROL_QUEUE, harness.#control(harness.#watches));
    return harness;
  }

  async stop(): Promise<void> {
    await this.#workers.close();
    await this.#watches.stop();
    await this.#connection.close();
    await this.server.stop();
  }

  async startControl(): Promise<void> {
    this.#watches = new ControlWatches(this.cluster, this.client);
    await this.#workers.start(CONTROL_QUEUE, this.#control(this.#watches));
  }

  async startSecondControl(): Promise<() => Promise<void>> {
    const key = `second ${CONTROL_QUEUE}`;
    const watches = new ControlWatches(this.cluster, this.client);
    await this.#workers.start(key, this.#control(watches), CONTROL_QUEUE);
    return async () => {
      await this.#workers.stop(key);
      await watches.stop();
    };
  }

  /** Of a control worker. */
  dependencies({ slaves, targets } = this.#watches): Dependencies {
    return {
      cluster: this.cluster,
      slaves,
      targets,
      owners: temporalOwners(this.client),
      publicKeys: () => this.publicKeys,
      namespace: 'device-mounter',
      slaveImage: 'pause:1',
      usedRequests: new UsedRequests(),
      now: () => new Date(Date.now() + this.aheadMs),
    };
  }

  #control(watches: ControlWatches): Partial<WorkerOptions> {
    return {
      activities: this.gates.around(createClusterActivities(this.dependencies(watches))),
      workflowBundle: { code: this.bundle },
      workflowTaskPollerBehavior: { type: 'autoscaling', minimum: 2, initial: 4, maximum: 20 },
      maxConcurrentActivityTaskExecutions: 1_000,
    };
  }

  async stopControl(): Promise<void> {
    await this.#workers.stop(CONTROL_QUEUE);
    await this.#watches.stop();
  }

  /** A node with a worker, a target pod of the same name on it and `free` devices. */
  async addNode(name: string, free: number, worker = true): Promise<MemoryNode> {
    this.cluster.addNode(name, { [FUSE]: free });
    this.cluster.addTarget(NAMESPACE, name, name);
    const node = new MemoryNode(this.cluster, () => this.publicKeys);
    this.#nodes.set(name, node);
    if (worker) await this.startNode(name);
    return node;
  }

  /** @param steps in the place of those of its `MemoryNode` */
  async startNode(name: string, steps?: NodeActivities): Promise<void> {
    const node = this.#nodes.get(name);
    if (node === undefined) throw new Error(`no node ${name}`);
    this.cluster.revive(name);
    await this.#workers.start(nodeQueue(name), {
      activities: this.gates.around(steps ?? node.steps),
      // As the real one: one poller and many slots.
      maxConcurrentActivityTaskExecutions: 1_000,
      activityTaskPollerBehavior: { type: 'autoscaling', minimum: 1, initial: 1, maximum: 4 },
    });
  }

  async killControl(): Promise<void> {
    await this.#workers.kill(CONTROL_QUEUE);
    await this.#watches.stop();
  }

  async killNode(name: string): Promise<void> {
    await this.#workers.kill(nodeQueue(name));
  }

  async stopNode(name: string): Promise<void> {
    this.cluster.lapse(name);
    await this.#workers.stop(nodeQueue(name));
  }

  /** Starts a mount and waits until it is mounted or has failed, as the apiserver does. */
  async mount(signed: Signed<MountRequest>): Promise<DeviceMount> {
    const { name, target } = signed.request;
    const startWorkflowOperation = new WithStartWorkflowOperation(WORKFLOWS.mount, {
      workflowId: mountWorkflowId(target.namespace, name),
      taskQueue: CONTROL_QUEUE,
      args: [signed],
      workflowIdConflictPolicy: 'USE_EXISTING',
    });
    return this.client.workflow.executeUpdateWithStart(UPDATES.mounted, { startWorkflowOperation });
  }

  async unmount(signed: Signed<UnmountRequest>): Promise<DeviceMountList> {
    const { id, target } = signed.request;
    const startWorkflowOperation = new WithStartWorkflowOperation(WORKFLOWS.unmount, {
      workflowId: unmountWorkflowId(target.namespace, id),
      taskQueue: CONTROL_QUEUE,
      args: [signed],
      workflowIdConflictPolicy: 'USE_EXISTING',
    });
    return this.client.workflow.executeUpdateWithStart(UPDATES.released, { startWorkflowOperation });
  }

  /** One run of the reconciler. */
  async reconcile(input: ReconcileInput = {}, workflowId = `reconcile/${randomUUID()}`): Promise<ReconcileReport> {
    return this.client.workflow.execute(WORKFLOWS.reconcile, {
      workflowId,
      taskQueue: CONTROL_QUEUE,
      args: [input],
    });
  }

  /** Runs a workflow of somebody who may do everything with Temporal, and nothing else. */
  async attack(workflowId: string, queue: string, activity: string, input: unknown): Promise<unknown> {
    const taskQueue = 'attacker';
    if (!this.#workers.has(taskQueue)) {
      const workflowsPath = join(import.meta.dirname, 'attack-workflow.ts');
      await this.#workers.start(taskQueue, { workflowsPath });
    }
    return this.client.workflow.execute('runActivity', { workflowId, taskQueue, args: [queue, activity, input] });
  }

  /** Temporal's database is lost; the workers go on when it is back. */
  async loseTemporal(): Promise<void> {
    const nodes = [...this.#nodes.keys()].filter((name) => this.#workers.has(nodeQueue(name)));
    await this.server.lose();
    await this.server.restart();
    const nodeAgain = async (name: string): Promise<void> => {
      await this.#workers.stop(nodeQueue(name));
      await this.startNode(name);
    };
    await Promise.all([this.stopControl().then(() => this.startControl()), ...nodes.map(nodeAgain)]);
  }

  /** Has `node` take back at once what ending slaves hold, and tell the owners. */
  guard(node: MemoryNode): void {
    this.#watches.slaves.subscribe((now, last) => {
      if (now !== undefined && now.metadata?.deletionTimestamp === undefined) return;
      for (const { namespace, name } of node.slaveEnding(last.metadata?.uid ?? '')) {
        temporalOwners(this.client)
          .signal(namespace, name, SIGNALS.slaveEnding)
          .catch(() => undefined);
      }
    });
  }

  /** Begins a mount's workflow anew at its first step. */
  async reset(name: string): Promise<void> {
    const { events } = await this.handle(name).fetchHistory();
    const first = events?.find(({ workflowTaskCompletedEventAttributes: completed }) => completed);
    await this.client.workflowService.resetWorkflowExecution({
      namespace: 'default',
      workflowExecution: { workflowId: mountWorkflowId(NAMESPACE, name) },
      reason: 'test',
      workflowTaskFinishEventId: first?.eventId ?? null,
      requestId: randomUUID(),
    });
  }

  handle(name: string) {
    return this.client.workflow.getHandle(mountWorkflowId(NAMESPACE, name));
  }

  /** Types of the steps that a mount's workflow has scheduled and that have not ended. */
  async pendingSteps(name: string): Promise<readonly string[]> {
    const { raw } = await this.handle(name).describe();
    return (raw.pendingActivities ?? []).map(({ activityType }) => activityType?.name ?? '');
  }

  async statusOf(name: string): Promise<string> {
    return (await this.handle(name).describe()).status.name;
  }

  /** What there is of a pod's mounts on its node and in the cluster: nothing, after an undo. */
  leftOf(pod: string, node: MemoryNode): readonly string[] {
    const slaves = this.cluster.slaves(NAMESPACE).filter(({ spec }) => JSON.stringify(spec).includes(`"${pod}"`));
    return [...slaves.map(({ metadata }) => `slave ${metadata?.name}`), ...node.attached.keys()];
  }

  /** The workflows whose history today's code does not repeat. */
  async replayed(): Promise<readonly string[]> {
    const histories = this.client.workflow.list().intoHistories();
    const failed: string[] = [];
    for await (const { workflowId, error } of Worker.runReplayHistories(
      { workflowBundle: { code: this.bundle } },
      histories,
    )) {
      if (error !== undefined) failed.push(`${workflowId}: ${error.message}`);
    }
    return failed;
  }

  /** Reasons of the Events on a pod, in their order. */
  eventsOf(pod: string): readonly string[] {
    return this.cluster.events
      .filter(({ involvedObject }) => involvedObject.name === pod)
      .map(({ reason }) => reason ?? '');
  }
}
