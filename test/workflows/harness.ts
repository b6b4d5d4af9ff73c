import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { DefaultLogger, Runtime, type WorkerOptions } from '@temporalio/worker';
import { createClusterActivities } from '../../activities/cluster-activities.ts';
import type { Dependencies } from '../../activities/dependencies.ts';
import { FirstObjects } from '../../activities/first-objects.ts';
import { TargetAnnotations } from '../../activities/target-annotations.ts';
import type { DeviceMountObject } from '../../contract/device-mount-object.ts';
import { nodeQueue } from '../../contract/names.ts';
import type { NodeActivities } from '../../contract/node-activities.ts';
import type { PublicKey } from '../../contract/signature.ts';
import { SIGNALS } from '../../contract/workflows.ts';
import type { ClusterIdentity } from '../../process/cluster-identity.ts';
import { type TemporalAccess, temporalAccess } from '../../process/temporal-access.ts';
import { concurrency } from '../../workflows/concurrency.ts';
import { BUNDLE_FILE } from './bundle-file.ts';
import { ClusterClient } from './cluster-client.ts';
import { ControlWatches } from './control-watches.ts';
import { Gates } from './gates.ts';
import { MemoryCluster } from './memory-cluster.ts';
import { MemoryNode } from './memory-node.ts';
import { eventually } from './outcome.ts';
import { replays } from './replays.ts';
import { CLUSTER, FUSE, NAMESPACE, PUBLIC_KEY, SLAVE_SETTINGS } from './requests.ts';
import { TemporalServer } from './temporal-server.ts';
import { Workers } from './workers.ts';

async function plain(address: string): Promise<TemporalAccess> {
  return temporalAccess({ 'temporal-address': address, 'temporal-namespace': 'default' });
}

// Once: the SDK makes later runtimes likewise.
Runtime.install({ logger: new DefaultLogger('ERROR', () => undefined) });

export interface HarnessOptions {
  /** More of Temporal's dynamic configuration, as `key=value`. */
  readonly settings?: readonly string[];
  /** Makes another way to the server at `address`. */
  readonly reach?: (address: string) => Promise<TemporalAccess>;
  /** How long a worker may take to stop; one that is killed takes all of it. */
  readonly forceMs?: number;
  /** How many steps of each kind a control worker does at a time; those that stop at a gate are among them. */
  readonly atOnce?: number;
}

const IDENTITY: ClusterIdentity = { name: CLUSTER, uid: 'uid-of-test' };

/** The control worker and node workers over a real Temporal server and a cluster in memory. */
export class Harness extends ClusterClient {
  readonly server: TemporalServer;
  readonly cluster: MemoryCluster;
  readonly access: TemporalAccess;
  readonly bundle: string;
  /** Around the steps of all workers. */
  readonly gates = new Gates();
  /** That all workers know. */
  publicKeys: readonly PublicKey[] = [{ key: PUBLIC_KEY }];
  /** How far the control worker's clock is ahead. */
  aheadMs = 0;
  #atOnce: number | undefined;
  readonly #connection: Connection;
  /** Of the first control worker: those before it have stopped. */
  #watches: ControlWatches;
  readonly #workers: Workers;
  readonly #nodes = new Map<string, MemoryNode>();

  private constructor(
    server: TemporalServer,
    identity: ClusterIdentity,
    cluster: MemoryCluster,
    access: TemporalAccess,
    connection: Connection,
    workers: Workers,
    bundle: string,
  ) {
    super(new Client({ connection, dataConverter: access.dataConverter }), identity);
    this.server = server;
    this.cluster = cluster;
    this.access = access;
    this.#connection = connection;
    this.#workers = workers;
    this.bundle = bundle;
    this.#watches = new ControlWatches(this.cluster, this.client, this.identity.name);
  }

  /** @param options what is not as usual */
  static async start({ settings = [], reach = plain, ...options }: HarnessOptions = {}): Promise<Harness> {
    const server = await TemporalServer.start(settings.flatMap((value) => ['--dynamic-config-value', value]));
    return Harness.#at(server, IDENTITY, await reach(server.address), new MemoryCluster(), options);
  }

  /** Another cluster in the same namespace of Temporal, or the same one by another name. */
  beside(identity: ClusterIdentity, cluster = new MemoryCluster()): Promise<Harness> {
    return Harness.#at(this.server, identity, this.access, cluster);
  }

  static async #at(
    server: TemporalServer,
    identity: ClusterIdentity,
    access: TemporalAccess,
    cluster: MemoryCluster,
    { forceMs, atOnce }: Pick<HarnessOptions, 'forceMs' | 'atOnce'> = {},
  ): Promise<Harness> {
    const bundle = readFileSync(BUNDLE_FILE, 'utf8');
    const { apiKey } = access;
    const connection = await Connection.connect({ ...access.connection, ...(apiKey !== undefined && { apiKey }) });
    const workers = await Workers.connect(access, forceMs);
    const harness = new Harness(server, identity, cluster, access, connection, workers, bundle);
    harness.#atOnce = atOnce;
    await harness.claim().claim();
    await harness.#workers.start(harness.queue, harness.#control(harness.#watches));
    return harness;
  }

  async stop(): Promise<void> {
    await this.leave();
    await this.server.stop();
  }

  /** Stops all but the server. */
  async leave(): Promise<void> {
    // A test that has failed may have left steps there, without whose end no worker ends in order.
    this.gates.open();
    await this.#workers.close();
    await this.#watches.stop();
    await this.#connection.close();
  }

  /** @param code its workflows, where they are not today's */
  async startControl(code = this.bundle): Promise<void> {
    this.#watches = new ControlWatches(this.cluster, this.client, this.identity.name);
    await this.claim().claim();
    await this.#workers.start(this.queue, { ...this.#control(this.#watches), workflowBundle: { code } });
  }

  async startSecondControl(): Promise<() => Promise<void>> {
    const key = `second ${this.queue}`;
    const watches = new ControlWatches(this.cluster, this.client, this.identity.name);
    await this.#workers.start(key, this.#control(watches), this.queue);
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
      owners: this.owners,
      annotations: new TargetAnnotations(this.cluster, targets),
      clusterName: this.identity.name,
      publicKeys: () => this.publicKeys,
      namespace: 'device-mounter',
      firstObjects: new FirstObjects(),
      slaveSettings: SLAVE_SETTINGS,
      now: () => new Date(Date.now() + this.aheadMs),
    };
  }

  #control(watches: ControlWatches): Partial<WorkerOptions> {
    return {
      activities: this.gates.around(createClusterActivities(this.dependencies(watches))),
      workflowBundle: { code: this.bundle },
      ...concurrency(this.#atOnce),
    };
  }

  async stopControl(): Promise<void> {
    await this.#workers.stop(this.queue);
    await this.#watches.stop();
  }

  /** A node with a worker, a target pod of the same name on it and `free` devices. */
  async addNode(name: string, free: number, worker = true): Promise<MemoryNode> {
    this.cluster.addNode(name, { [FUSE]: free });
    this.cluster.addTarget(NAMESPACE, name, name);
    const node = new MemoryNode(this.cluster, this.dependencies());
    this.#nodes.set(name, node);
    if (worker) await this.startNode(name);
    return node;
  }

  /** @param steps in the place of those of its `MemoryNode` */
  async startNode(name: string, steps?: NodeActivities): Promise<void> {
    const node = this.#nodes.get(name);
    if (node === undefined) throw new Error(`no node ${name}`);
    this.cluster.revive(name);
    await this.#workers.start(nodeQueue(this.identity.name, name), {
      activities: this.gates.around(steps ?? node.steps),
      // As the real one: one poller and many slots.
      maxConcurrentActivityTaskExecutions: 1_000,
      activityTaskPollerBehavior: { type: 'autoscaling', minimum: 1, initial: 1, maximum: 4 },
    });
  }

  async killControl(): Promise<void> {
    await this.#workers.kill(this.queue);
    await this.#watches.stop();
  }

  async killNode(name: string): Promise<void> {
    await this.#workers.kill(nodeQueue(this.identity.name, name));
  }

  async stopNode(name: string): Promise<void> {
    this.cluster.lapse(name);
    await this.#workers.stop(nodeQueue(this.identity.name, name));
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

  /** Temporal's database is lost; the workers, also those of other clusters, go on when it is back. */
  async loseTemporal(...others: readonly Harness[]): Promise<void> {
    await this.server.lose();
    await this.server.restart();
    await Promise.all([this, ...others].map((each) => each.#again()));
  }

  async #again(): Promise<void> {
    const nodes = [...this.#nodes.keys()].filter((name) => this.#workers.has(nodeQueue(this.identity.name, name)));
    const nodeAgain = async (name: string): Promise<void> => {
      await this.#workers.stop(nodeQueue(this.identity.name, name));
      await this.startNode(name);
    };
    await Promise.all([this.stopControl().then(() => this.startControl()), ...nodes.map(nodeAgain)]);
  }

  /** Has `node` take back at once what ending slaves hold, and tell the owners. */
  guard(node: MemoryNode): void {
    this.#watches.slaves.subscribe((now, last) => {
      if (now !== undefined && now.metadata?.deletionTimestamp === undefined) return;
      for (const { namespace, name } of node.slaveEnding(last.metadata?.uid ?? '')) {
        this.owners.signal(namespace, name, SIGNALS.slaveEnding).catch(() => undefined);
      }
    });
  }

  /** The object of a mount once it shows this phase: a caller is answered before that. */
  shows(name: string, phase = 'Mounted'): Promise<DeviceMountObject> {
    return eventually(async () => {
      const object = await this.cluster.getMount({ namespace: NAMESPACE, name });
      return object?.status?.phase === phase ? object : undefined;
    });
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
    for await (const { workflowId, problem } of replays(this.bundle, histories))
      if (problem !== undefined) failed.push(`${workflowId}: ${problem}`);
    return failed;
  }

  /** Reasons of the Events on a pod, in their order. */
  eventsOf(pod: string): readonly string[] {
    return this.cluster.events
      .filter(({ involvedObject }) => involvedObject.name === pod)
      .map(({ reason }) => reason ?? '');
  }
}
