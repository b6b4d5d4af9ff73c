import type { V1Pod } from '@kubernetes/client-node';
import { Context } from '@temporalio/activity';
import type { MountedDevice, MountWarning } from '../../contract/device-mount.ts';
import { type FailureType, fail } from '../../contract/failures.ts';
import { slaveIndex } from '../../contract/names.ts';
import type {
  AttachInput,
  AttachResult,
  DetachInput,
  DetachResult,
  MountRef,
  NodeActivities,
  TakenBackInput,
  TakenBackResult,
} from '../../contract/node-activities.ts';
import { sharesOf } from '../../contract/requests.ts';
import { type Verifier, verifiedRequest } from '../../contract/signature.ts';
import type { MemoryCluster } from './memory-cluster.ts';

/** The worker of a node, with what containers can use kept in memory. */
export class MemoryNode implements NodeActivities {
  /** What attaches end with from now on. */
  refuse: FailureType | undefined;
  /** What attaches are made in spite of from now on. */
  warnings: readonly MountWarning[] | undefined;
  /** What detaches end with from now on. */
  failing: FailureType | undefined;
  /** Processes that use every device. */
  busy = false;
  /** While set, an attach does not go on after it has attached. */
  slow: Promise<void> | undefined;
  /** While set, a detach does not begin. */
  stuck: Promise<void> | undefined;
  /** What attaches have begun, for tests that act in the middle of one. */
  begun = 0;
  readonly attached = new Map<string, readonly MountedDevice[]>();
  /** UIDs of the slaves of what is attached; a detach must name one, or be signed. */
  readonly #slaves = new Map<string, ReadonlySet<string>>();
  readonly #tombstones = new Set<string>();
  /** By the signature of the request, UIDs of the slaves that it was used for. */
  readonly #used = new Map<string, ReadonlySet<string>>();
  readonly #cluster: MemoryCluster;

  readonly #verifier: Verifier;

  constructor(cluster: MemoryCluster, verifier: Verifier) {
    this.#cluster = cluster;
    this.#verifier = verifier;
  }

  /** For a worker. */
  get steps(): NodeActivities {
    return {
      attachDevices: (input) => this.attachDevices(input),
      detachDevices: (input) => this.detachDevices(input),
      takenBack: (input) => this.takenBack(input),
    };
  }

  /** As the real one, it beats as long as it works. */
  async attachDevices(input: AttachInput): Promise<AttachResult> {
    const context = Context.current();
    const beat = setInterval(() => context.heartbeat(), 500);
    try {
      return await this.#attach(input);
    } finally {
      clearInterval(beat);
    }
  }

  async #attach({ signed, slaves }: AttachInput): Promise<AttachResult> {
    this.begun++;
    const request = verifiedRequest(signed, this.#verifier);
    for (const slave of slaves) await this.#allocated(slave.namespace, slave.name);
    if (this.refuse !== undefined) throw fail(this.refuse, `Cannot attach: ${this.refuse}`);
    if (slaves.some(({ uid }) => this.#tombstones.has(uid)))
      throw fail('NotAllocated', 'Cannot attach: it was detached');
    const all = sharesOf(request);
    const devices = slaves.flatMap(({ name }) =>
      Object.keys(all[slaveIndex(name)] ?? {}).map((resource) => deviceOf(resource, name)),
    );
    const key = keyOf({ namespace: request.target.namespace, name: request.name });
    const used = this.#used.get(signed.signature);
    if (used !== undefined && !this.attached.has(key) && slaves.some(({ uid }) => !used.has(uid)))
      throw fail('MountEnded', 'Cannot attach: its request was used before, and that mount has ended');
    const uids = new Set(slaves.map(({ uid }) => uid));
    this.attached.set(key, devices);
    this.#slaves.set(key, uids);
    this.#used.set(signed.signature, uids);
    await Promise.race([this.slow, ...(this.slow === undefined ? [] : [Context.current().cancelled])]);
    return { containerId: 'c1', devices, ...(this.warnings && { warnings: this.warnings }) };
  }

  async detachDevices({ mounts, slaves, force, signed, device }: DetachInput): Promise<DetachResult> {
    if (signed !== undefined) verifiedRequest(signed, this.#verifier, 'goOn');
    await this.stuck;
    if (this.failing !== undefined) throw fail(this.failing, `Cannot detach: ${this.failing}`);
    if (this.busy && !force && signed?.request.force !== true) {
      const causes = [{ reason: 'Process', message: 'pid 7 (sleep)' }];
      throw fail('DeviceBusy', 'Cannot detach: the device is in use', undefined, causes);
    }
    const inUse = this.busy && signed === undefined && !(await this.#haveEnded(slaves));
    const named = new Set(slaves.map(({ uid }) => uid));
    if (device === undefined) for (const uid of named) this.#tombstones.add(uid);
    return {
      mounts: mounts.map((mount) => {
        const meant = signed !== undefined || this.#slaves.get(keyOf(mount))?.isDisjointFrom(named) === false;
        const attached = meant ? (this.attached.get(keyOf(mount)) ?? []) : [];
        const left = attached.filter(({ id }) => device !== undefined && id !== device);
        if (left.length > 0) this.attached.set(keyOf(mount), left);
        else if (meant) this.attached.delete(keyOf(mount));
        const devices = attached.filter((each) => !left.includes(each));
        return { mount, devices, ...(inUse && { inUse }), ...(this.busy && signed && { ended: 'pid 7 (sleep)' }) };
      }),
    };
  }

  async takenBack({ mounts }: TakenBackInput): Promise<TakenBackResult> {
    return {
      mounts: mounts.filter(
        (mount) => !this.attached.has(keyOf(mount)) && mount.slaves.every(({ uid }) => this.#tombstones.has(uid)),
      ),
    };
  }

  /** As the real one, which takes back what a slave holds as soon as that ends, whatever workflows say. Answers the mounts. */
  slaveEnding(uid: string): readonly MountRef[] {
    const taken = [...this.#slaves].filter(([key, slaves]) => slaves.has(uid) && this.attached.delete(key));
    return taken.map(([key]) => {
      const [namespace = '', name = ''] = key.split('/');
      return { namespace, name };
    });
  }

  /** Then processes that use their devices are ended. */
  async #haveEnded(slaves: DetachInput['slaves']): Promise<boolean> {
    const pods = await Promise.all(slaves.map((slave) => this.#cluster.getPod(slave)));
    return pods.every((pod) => pod?.metadata?.deletionTimestamp !== undefined || pod === undefined);
  }

  /** As the kubelet's checkpoint: until the slave is on a node, nothing is allocated. */
  async #allocated(namespace: string, name: string): Promise<void> {
    const { cancelled, cancellationSignal } = Context.current();
    const labels = 'app.kubernetes.io/managed-by=device-mounter';
    const { items, resourceVersion } = await this.#cluster.listPods(labels);
    const here = items.find(({ metadata }) => metadata?.name === name && metadata.namespace === namespace);
    if (isAllocated(here)) return;
    for await (const { type, pod } of this.#cluster.watchPods(labels, resourceVersion, cancellationSignal)) {
      if (pod.metadata?.name !== name || pod.metadata.namespace !== namespace) continue;
      if (type === 'DELETED') throw fail('SlaveEnded', 'Cannot attach: the slave was deleted');
      if (isAllocated(pod)) return;
    }
    await cancelled;
  }
}

/** @throws SlaveEnded for a pod that the kubelet has refused */
function isAllocated(pod: V1Pod | undefined): boolean {
  if (pod?.status?.phase === 'Failed') throw fail('SlaveEnded', `Cannot attach: it has failed: ${pod.status.reason}`);
  return pod?.spec?.nodeName !== undefined;
}

function keyOf({ namespace, name }: MountRef): string {
  return `${namespace}/${name}`;
}

function deviceOf(resource: string, slave: string): MountedDevice {
  const path = `/dev/${resource.split('_').at(-1)}`;
  return { id: path, resource, slave, nodes: [{ path, type: 'c', major: 10, minor: 229, access: 'rw' }] };
}
