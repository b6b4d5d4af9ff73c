import type { V1Pod } from '@kubernetes/client-node';
import type { Target } from '../contract/requests.ts';
import { SIGNALS } from '../contract/workflows.ts';
import type { Cluster, PodRef } from './cluster.ts';
import type { Owners } from './owners.ts';
import { PodWatch } from './pod-watch.ts';
import { mountNameOf, targetOf } from './slave-pod.ts';
import { targetState } from './target.ts';

export interface WatchTargetsOptions {
  readonly cluster: Pick<Cluster, 'getPod' | 'listPods' | 'watchPods'>;
  /** Follows all slave pods. */
  readonly slaves: PodWatch;
  readonly owners: Pick<Owners, 'signal'>;
  readonly onError: (err: unknown) => void;
}

/**
 * Tells the owner of each slave when its target has ended. Follows the pods of the namespaces that have slaves, and only
 * those; what a watch shows is looked up before it is told, and each list looks at all of them again.
 */
export class TargetWatch {
  readonly #options: WatchTargetsOptions;
  readonly #namespaces = new Map<string, PodWatch>();
  /** UIDs of slaves whose owner knows, or is being told. */
  readonly #told = new Set<string>();
  readonly #unsubscribe: () => void;

  constructor(options: WatchTargetsOptions) {
    this.#options = options;
    this.#unsubscribe = options.slaves.subscribe((now, last) => this.#onSlave(now, last));
  }

  /** As last seen; `undefined` also for one whose namespace is not followed. */
  get(ref: PodRef): V1Pod | undefined {
    return this.#namespaces.get(ref.namespace)?.get(ref);
  }

  async stop(): Promise<void> {
    this.#unsubscribe();
    await Promise.all([...this.#namespaces.values()].map((watch) => watch.stop()));
  }

  #onSlave(now: V1Pod | undefined, { metadata }: V1Pod): void {
    const namespace = metadata?.namespace ?? '';
    if (now === undefined) {
      this.#told.delete(metadata?.uid ?? '');
      this.#leave(namespace);
    } else {
      this.#enter(namespace);
      this.#look(now);
    }
  }

  #enter(namespace: string): void {
    if (this.#namespaces.has(namespace)) return;
    const { cluster, onError } = this.#options;
    const watch = new PodWatch({
      cluster,
      labels: '',
      namespace,
      onError,
      onListed: () => this.#slavesIn(namespace).forEach((slave) => this.#look(slave)),
    });
    watch.subscribe((now, last) => {
      if (now !== undefined && !hasEnded(now)) return;
      for (const slave of this.#slavesIn(namespace)) {
        if (targetOf(slave)?.podUid === last.metadata?.uid) this.#look(slave);
      }
    });
    this.#namespaces.set(namespace, watch);
    watch.start();
  }

  #leave(namespace: string): void {
    const watch = this.#namespaces.get(namespace);
    if (watch === undefined || this.#slavesIn(namespace).length > 0) return;
    this.#namespaces.delete(namespace);
    watch.stop().catch(this.#options.onError);
  }

  #slavesIn(namespace: string): readonly V1Pod[] {
    return this.#options.slaves.all().filter(({ metadata }) => metadata?.namespace === namespace);
  }

  #look(slave: V1Pod): void {
    const target = targetOf(slave);
    const watch = this.#namespaces.get(slave.metadata?.namespace ?? '');
    const mount = mountNameOf(slave);
    const uid = slave.metadata?.uid;
    if (target === undefined || mount === undefined || uid === undefined || watch?.synced !== true) return;
    const seen = watch.get({ namespace: target.namespace, name: target.pod });
    if (this.#told.has(uid) || (seen?.metadata?.uid === target.podUid && !hasEnded(seen))) return;
    this.#told.add(uid);
    this.#tell(target, mount, uid).catch((err: unknown) => {
      this.#told.delete(uid);
      this.#options.onError(err);
    });
  }

  async #tell(target: Target, mount: string, slaveUid: string): Promise<void> {
    // The watch of the slaves may be ahead of that of the targets.
    if ((await targetState(this.#options.cluster, target)) === 'gone') {
      await this.#options.owners.signal(target.namespace, mount, SIGNALS.targetGone);
    } else this.#told.delete(slaveUid);
  }
}

/** A pod that is being deleted has not ended yet: its processes may still need the device. */
function hasEnded({ status }: V1Pod): boolean {
  return status?.phase === 'Succeeded' || status?.phase === 'Failed';
}
