import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { Client, Connection, WithStartWorkflowOperation } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker, type WorkerOptions } from '@temporalio/worker';
import { createClusterActivities } from '../../activities/create.ts';
import { temporalOwners } from '../../activities/owners.ts';
import { PodWatch } from '../../activities/pod-watch.ts';
import { SLAVE_SELECTOR } from '../../activities/slave-pod.ts';
import { tellOwners } from '../../activities/tell-owners.ts';
import { TargetWatch } from '../../activities/watch-targets.ts';
import type { DeviceMount, DeviceMountList } from '../../contract/device-mount.ts';
import { CONTROL_QUEUE, mountWorkflowId, nodeQueue, unmountWorkflowId } from '../../contract/names.ts';
import type { MountRequest, Signed, UnmountRequest } from '../../contract/requests.ts';
import { signRequest } from '../../contract/signature.ts';
import { UPDATES, WORKFLOWS } from '../../contract/workflows.ts';
import { buildWorkflowBundle } from '../../workflows/bundle.ts';
import { MemoryCluster } from './memory-cluster.ts';
import { MemoryNode } from './memory-node.ts';
import { TemporalServer } from './temporal-server.ts';

export const NAMESPACE = 'apps';
export const FUSE = 'hostdev.k8s.io/dev_fuse';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const stranger = generateKeyPairSync('ed25519');

interface Running {
  readonly worker: Worker;
  readonly done: Promise<void>;
}

/** The control worker and node workers over a real Temporal server and a cluster in memory. */
export class Harness {
  readonly server: TemporalServer;
  readonly cluster = new MemoryCluster();
  readonly client: Client;
  readonly bundle: string;
  readonly #connection: Connection;
  readonly #native: NativeConnection;
  readonly #slaves: PodWatch;
  readonly #targets: TargetWatch;
  readonly #workers = new Map<string, Running>();
  readonly #nodes = new Map<string, MemoryNode>();

  private constructor(server: TemporalServer, connection: Connection, native: NativeConnection, bundle: string) {
    this.server = server;
    this.#connection = connection;
    this.#native = native;
    this.bundle = bundle;
    this.client = new Client({ connection });
    const onError = (): void => undefined;
    this.#slaves = new PodWatch({ cluster: this.cluster, labels: SLAVE_SELECTOR, onError });
    this.#targets = new TargetWatch({
      cluster: this.cluster,
      slaves: this.#slaves,
      owners: temporalOwners(this.client),
      onError,
    });
  }

  static async start(): Promise<Harness> {
    const logger = new DefaultLogger('ERROR', () => undefined);
    Runtime.install({ logger });
    const [server, bundle] = await Promise.all([TemporalServer.start(), buildWorkflowBundle(logger)]);
    const connection = await Connection.connect({ address: server.address });
    const native = await NativeConnection.connect({ address: server.address });
    const harness = new Harness(server, connection, native, bundle);
    harness.#slaves.start();
    tellOwners(harness.#slaves, temporalOwners(harness.client), () => undefined);
    await harness.startControl();
    return harness;
  }

  async stop(): Promise<void> {
    for (const name of this.#workers.keys()) await this.#stopWorker(name);
    await this.#targets.stop();
    await this.#slaves.stop();
    await this.#connection.close();
    await this.#native.close();
    await this.server.stop();
  }

  async startControl(): Promise<void> {
    const activities = createClusterActivities({
      cluster: this.cluster,
      slaves: this.#slaves,
      owners: temporalOwners(this.client),
      publicKeys: [publicKey],
      namespace: 'device-mounter',
      slaveImage: 'pause:1',
      now: () => new Date(),
    });
    await this.#startWorker(CONTROL_QUEUE, { activities, workflowBundle: { code: this.bundle } });
  }

  async stopControl(): Promise<void> {
    await this.#stopWorker(CONTROL_QUEUE);
  }

  /** A node with a worker, a target pod of the same name on it and `free` devices. */
  async addNode(name: string, free: number, worker = true): Promise<MemoryNode> {
    this.cluster.addNode(name, { [FUSE]: free });
    this.cluster.addTarget(NAMESPACE, name, name);
    const node = new MemoryNode(this.cluster);
    this.#nodes.set(name, node);
    if (worker) await this.startNode(name);
    return node;
  }

  async startNode(name: string): Promise<void> {
    const node = this.#nodes.get(name);
    if (node === undefined) throw new Error(`no node ${name}`);
    this.cluster.revive(name);
    await this.#startWorker(nodeQueue(name), {
      activities: {
        attachDevices: node.attachDevices.bind(node),
        detachDevices: node.detachDevices.bind(node),
      },
    });
  }

  async stopNode(name: string): Promise<void> {
    this.cluster.lapse(name);
    await this.#stopWorker(nodeQueue(name));
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
    return this.client.workflow.executeUpdateWithStart(UPDATES.released, {
      startWorkflowOperation,
    });
  }

  handle(name: string) {
    return this.client.workflow.getHandle(mountWorkflowId(NAMESPACE, name));
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

  async #startWorker(taskQueue: string, options: Partial<WorkerOptions>): Promise<void> {
    const worker = await Worker.create({ connection: this.#native, taskQueue, shutdownGraceTime: 0, ...options });
    this.#workers.set(taskQueue, { worker, done: worker.run() });
  }

  async #stopWorker(taskQueue: string): Promise<void> {
    const running = this.#workers.get(taskQueue);
    this.#workers.delete(taskQueue);
    running?.worker.shutdown();
    await running?.done;
  }
}

/** A request for one `/dev/fuse` in the pod named as its node. */
export function mountRequest(pod: string, more: Partial<MountRequest> = {}): MountRequest {
  return {
    kind: 'mount',
    name: `${pod}-m`,
    target: targetOf(pod),
    deviceType: 'HOSTDEV',
    resources: { [FUSE]: '1' },
    labels: {},
    annotations: {},
    patches: [],
    queue: false,
    onRestart: 'reapply',
    user: { name: 'jane', groups: ['dev'] },
    requestedAt: new Date().toISOString(),
    deadlineSeconds: 20,
    ...more,
  };
}

export function unmountRequest(pod: string, more: Partial<UnmountRequest> = {}): UnmountRequest {
  return {
    kind: 'unmount',
    id: randomUUID(),
    target: targetOf(pod),
    deviceType: 'HOSTDEV',
    force: false,
    user: { name: 'jane', groups: ['dev'] },
    requestedAt: new Date().toISOString(),
    deadlineSeconds: 20,
    ...more,
  };
}

function targetOf(pod: string) {
  return { namespace: NAMESPACE, pod, podUid: `uid-${pod}`, container: 'main' };
}

export function signed<R extends MountRequest | UnmountRequest>(request: R): Signed<R> {
  return signRequest(request, privateKey);
}

/** Signed by someone who is not the apiserver. */
export function forged<R extends MountRequest | UnmountRequest>(request: R): Signed<R> {
  return signRequest(request, stranger.privateKey);
}
