import type { CoreV1Event, V1Pod } from '@kubernetes/client-node';
import { type Cluster, ClusterError, type PodEvent, type PodRef } from '../../activities/cluster.ts';
import { ANNOTATIONS, MANAGER, SLAVE_LABELS } from '../../contract/names.ts';
import { matches } from './memory-mounts.ts';
import { HELD_BY_OTHERS, MemoryNodes } from './memory-nodes.ts';

/** Of a pod whose devices the kubelet could not allocate. */
const REFUSED = { phase: 'Failed', reason: 'UnexpectedAdmissionError', message: 'Allocate failed: connection refused' };

/** Pods, nodes and Leases in memory, with a scheduler, a kubelet and a garbage collector that do their parts at once. */
export class MemoryCluster extends MemoryNodes implements Cluster {
  readonly events: CoreV1Event[] = [];
  /** Names of claims and templates that pods may name. */
  readonly claims = new Set<string>();
  readonly hasClaim: Cluster['hasClaim'] = async (_namespace, { resourceClaimName, resourceClaimTemplateName }) =>
    this.claims.has(resourceClaimName ?? resourceClaimTemplateName ?? '');
  /** Refusal of the next pods to be created, as a quota or a webhook would. */
  refuse: ClusterError | undefined;
  /** What reads of a pod end with, as from a kube-apiserver that is not well. */
  unwell: ClusterError | undefined;
  /** The pod whose reads end so; all, if there is no name. */
  unwellPod: string | undefined;
  /** Pods that are deleted stay until `finishEnding`, as on a node that is away. */
  endSlowly = false;
  /** Of each deletion of a pod its name and `gracePeriodSeconds`, in their order. */
  readonly graces: (readonly [pod: string, seconds: number])[] = [];
  readonly #pods = new Map<string, V1Pod>();
  readonly #log: { readonly version: number; readonly event: PodEvent }[] = [];
  readonly #changed = new EventTarget();
  #version = 0;

  addNode(name: string, devices: Readonly<Record<string, number>>, enabled = true): void {
    this.putNode(name, devices, enabled);
    const limits = Object.fromEntries(Object.keys(devices).map((resource) => [resource, String(HELD_BY_OTHERS)]));
    this.#put({
      metadata: { namespace: 'others', name, uid: crypto.randomUUID() },
      spec: { nodeName: name, containers: [{ name: 'other', resources: { limits } }] },
      status: { phase: 'Running' },
    });
    this.#schedulePending();
  }

  /** What a plugin's device freed elsewhere looks like. */
  addDevices(node: string, resource: string, count: number): void {
    const { free, allocatable } = this.node(node);
    for (const counts of [free, allocatable]) counts.set(resource, (counts.get(resource) ?? 0) + count);
    this.#schedulePending();
  }

  /** A running pod with one container `main`. */
  addTarget(namespace: string, name: string, node: string, uid = `uid-${name}`): string {
    this.#put({
      metadata: { namespace, name, uid },
      spec: { nodeName: node, containers: [{ name: 'main' }], tolerations: [{ key: 'gpu', operator: 'Exists' }] },
      status: {
        phase: 'Running',
        containerStatuses: [
          { name: 'main', state: { running: {} }, image: '', imageID: '', ready: true, restartCount: 0 },
        ],
      },
    });
    return uid;
  }

  /** A slave of the original device-mounter: same labels, but nothing about a mount. */
  addForeignSlave(namespace: string, name: string, target: string): void {
    const labels = {
      [SLAVE_LABELS.component]: MANAGER,
      [SLAVE_LABELS.managedBy]: MANAGER,
      [SLAVE_LABELS.ownerName]: target,
      [SLAVE_LABELS.ownerUid]: `uid-${target}`,
      [SLAVE_LABELS.container]: 'main',
    };
    const annotations = { [ANNOTATIONS.deviceType]: 'HOSTDEV' };
    const ownerReferences = [{ apiVersion: 'v1', kind: 'Pod', name: target, uid: `uid-${target}` }];
    this.#put({
      metadata: { namespace, name, uid: crypto.randomUUID(), labels, annotations, ownerReferences },
      spec: { nodeName: target, containers: [{ name: 'slave' }] },
      status: { phase: 'Running' },
    });
  }

  /** What the kubelet reports, for example `Succeeded`. */
  setPhase(ref: PodRef, phase: string): void {
    const pod = this.#pods.get(keyOf(ref));
    if (pod !== undefined) this.#put({ ...pod, status: { ...pod.status, phase } });
  }

  /** As the last step of a pod's deletion: with it go the pods that it owns. */
  removePod(ref: PodRef, cascade = true): void {
    const pod = this.#pods.get(keyOf(ref));
    if (pod === undefined) return;
    this.#pods.delete(keyOf(ref));
    this.#emit('DELETED', pod);
    this.#release(pod);
    if (cascade) this.collect(pod);
    for (const other of cascade ? this.#pods.values() : []) {
      if (other.metadata?.ownerReferences?.some(({ uid }) => uid === pod.metadata?.uid) !== true) continue;
      this.removePod({ namespace: other.metadata.namespace ?? '', name: other.metadata.name ?? '' });
    }
    this.#schedulePending();
  }

  slaves(namespace: string): readonly V1Pod[] {
    return [...this.#pods.values()].filter(
      ({ metadata }) => metadata?.namespace === namespace && metadata.ownerReferences !== undefined,
    );
  }

  async getPod({ namespace, name }: PodRef): Promise<V1Pod | undefined> {
    this.reads++;
    if (this.unwell !== undefined && (this.unwellPod ?? name) === name) throw this.unwell;
    return this.#pods.get(keyOf({ namespace, name }));
  }

  async createPod(namespace: string, pod: V1Pod): Promise<V1Pod> {
    if (this.refuse !== undefined) throw this.refuse;
    const name = pod.metadata?.name ?? '';
    if (this.#pods.has(keyOf({ namespace, name })))
      throw new ClusterError(409, 'AlreadyExists', `pods "${name}" exists`);
    const metadata = { ...pod.metadata, namespace, uid: crypto.randomUUID() };
    const made = this.#put({ ...pod, metadata, status: { phase: 'Pending' } });
    this.#schedule(made);
    return made;
  }

  async deletePod(ref: PodRef, uid: string, graceSeconds: number): Promise<void> {
    const pod = this.#pods.get(keyOf(ref));
    if (pod?.metadata?.uid !== uid) return;
    this.graces.push([ref.name, graceSeconds]);
    if (pod.spec?.nodeName === undefined || graceSeconds === 0) {
      this.removePod(ref);
      return;
    }
    this.#put({ ...pod, metadata: { ...pod.metadata, deletionTimestamp: new Date() } });
    // With more it stays for a while, as it would with a `preStop`.
    if (!this.endSlowly && graceSeconds <= 1) setImmediate(() => this.removePod(ref));
  }

  /** What is being deleted goes now. */
  finishEnding(): void {
    this.endSlowly = false;
    for (const { metadata } of this.#pods.values().toArray()) {
      if (metadata?.deletionTimestamp === undefined) continue;
      this.removePod({ namespace: metadata.namespace ?? '', name: metadata.name ?? '' });
    }
  }

  async mergePod(ref: PodRef, patch: object): Promise<void> {
    const pod = this.#pods.get(keyOf(ref));
    if (pod === undefined) throw new ClusterError(404, 'NotFound', `pods "${ref.name}" not found`);
    const { resourceVersion, annotations } = (patch as V1Pod).metadata ?? {};
    if (resourceVersion !== undefined && resourceVersion !== pod.metadata?.resourceVersion) {
      throw new ClusterError(409, 'Conflict', 'the object has been modified');
    }
    const merged = Object.entries({ ...pod.metadata?.annotations, ...annotations }).filter(
      ([, value]) => value !== null,
    );
    this.#put({ ...pod, metadata: { ...pod.metadata, annotations: Object.fromEntries(merged) } });
  }

  async listPods(labels: string, namespace?: string): Promise<{ items: readonly V1Pod[]; resourceVersion: string }> {
    const items = [...this.#pods.values()].filter(
      (pod) =>
        matches(pod.metadata?.labels, labels) && (namespace === undefined || pod.metadata?.namespace === namespace),
    );
    return { items, resourceVersion: String(this.#version) };
  }

  async podsOn(node: string): Promise<readonly V1Pod[]> {
    return [...this.#pods.values()].filter(({ spec }) => spec?.nodeName === node);
  }

  async *watchPods(
    labels: string,
    resourceVersion: string,
    signal: AbortSignal,
    namespace?: string,
  ): AsyncIterable<PodEvent> {
    let seen = Number(resourceVersion);
    while (!signal.aborted) {
      // Each entry of the log is one version, from 1.
      for (const { version, event } of this.#log.slice(seen)) {
        seen = version;
        if (!matches(event.pod.metadata?.labels, labels)) continue;
        if (namespace === undefined || event.pod.metadata?.namespace === namespace) yield event;
      }
      if (seen < this.#version || signal.aborted) continue;
      await new Promise<void>((resolve) => {
        const done = (): void => resolve();
        this.#changed.addEventListener('change', done, { once: true });
        signal.addEventListener('abort', done, { once: true });
      });
    }
  }

  async createEvent(_namespace: string, event: CoreV1Event): Promise<void> {
    const { name } = event.metadata;
    if (name !== undefined && this.events.some(({ metadata }) => metadata.name === name)) {
      throw new ClusterError(409, 'AlreadyExists', `events "${name}" already exists`);
    }
    this.events.push(event);
  }

  #put(pod: V1Pod): V1Pod {
    const { namespace = '', name = '' } = pod.metadata ?? {};
    const key = keyOf({ namespace, name });
    const type = this.#pods.has(key) ? 'MODIFIED' : 'ADDED';
    const stored = { ...pod, metadata: { ...pod.metadata, resourceVersion: String(this.#version + 1) } };
    this.#pods.set(key, stored);
    this.#emit(type, stored);
    return stored;
  }

  #emit(type: PodEvent['type'], pod: V1Pod): void {
    this.#version++;
    this.#log.push({ version: this.#version, event: { type, pod } });
    this.#changed.dispatchEvent(new Event('change'));
  }

  #schedulePending(): void {
    for (const pod of this.#pods.values()) {
      if (pod.spec?.nodeName === undefined && pod.metadata?.deletionTimestamp === undefined) this.#schedule(pod);
    }
  }

  #schedule(pod: V1Pod): void {
    const node = pinOf(pod);
    // Others than slaves are nobody's to schedule.
    if (node === '') return;
    const { free, refusals = 0, overlooked = 0 } = this.nodes.get(node) ?? {};
    const wanted = devicesOf(pod);
    const lacking = wanted.find(([resource, count]) => overlooked > 0 || (free?.get(resource) ?? 0) < count);
    if (lacking === undefined) {
      for (const [resource, count] of wanted) free?.set(resource, (free.get(resource) ?? 0) - count);
      if (refusals > 0) this.refusePods(node, refusals - 1);
      const status = refusals > 0 ? REFUSED : { phase: 'Running' };
      this.#put({ ...pod, spec: { ...pod.spec, nodeName: node, containers: pod.spec?.containers ?? [] }, status });
      return;
    }
    if (overlooked > 0) this.overlookPods(node, overlooked - 1);
    const message = `0/1 nodes are available: 1 Insufficient ${lacking[0]}.`;
    const condition = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message };
    this.#put({ ...pod, status: { phase: 'Pending', conditions: [{ type: 'Other', status: 'True' }, condition] } });
  }

  #release(pod: V1Pod): void {
    const free = this.nodes.get(pod.spec?.nodeName ?? '')?.free;
    for (const [resource, count] of devicesOf(pod)) free?.set(resource, (free.get(resource) ?? 0) + count);
  }
}

function keyOf({ namespace, name }: PodRef): string {
  return `${namespace}/${name}`;
}

function pinOf(pod: V1Pod): string {
  const required = pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  return required?.nodeSelectorTerms[0]?.matchFields?.[0]?.values?.[0] ?? '';
}

function devicesOf(pod: V1Pod): readonly (readonly [string, number])[] {
  const limits = Object.entries(pod.spec?.containers[0]?.resources?.limits ?? {});
  return limits.filter(([resource]) => resource.includes('/')).map(([resource, count]) => [resource, Number(count)]);
}
