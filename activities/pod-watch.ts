import { setTimeout as delay } from 'node:timers/promises';
import type { V1Pod } from '@kubernetes/client-node';
import type { Cluster, PodRef } from './cluster.ts';

/** Between the beginnings of two lists, at least: a server may close every watch at once. */
const RELIST_DELAY_MS = 1_000;
/** A watch may miss what happens while it is broken in a way that nobody notices; a list does not. */
const RELIST_PERIOD_MS = 60_000;

/** Tells of a pod as it is now, or `undefined` once it is gone (with what was last seen of it). */
export type PodListener = (now: V1Pod | undefined, last: V1Pod) => void;

export interface PodWatchOptions {
  readonly cluster: Pick<Cluster, 'listPods' | 'watchPods'>;
  /** Label selector; empty for all. */
  readonly labels: string;
  /** Without it, of all namespaces. */
  readonly namespace?: string;
  readonly onError: (err: unknown) => void;
  /** After each list. */
  readonly onListed?: () => void;
}

/**
 * Follows the pods of a label selector by list and watch, for all who ask. Each listener hears of every pod that is there
 * at a list, and of every change after it; a missed change is heard of at the next list.
 */
export class PodWatch {
  readonly #options: PodWatchOptions;
  readonly #pods = new Map<string, V1Pod>();
  readonly #listeners = new Set<PodListener>();
  readonly #stop = new AbortController();
  #synced = false;
  #done: Promise<void> | undefined;

  constructor(options: PodWatchOptions) {
    this.#options = options;
  }

  /** True once the first list has been read. */
  get synced(): boolean {
    return this.#synced;
  }

  get(ref: PodRef): V1Pod | undefined {
    return this.#pods.get(`${ref.namespace}/${ref.name}`);
  }

  /** What was last seen of all. */
  all(): readonly V1Pod[] {
    return [...this.#pods.values()];
  }

  /** Answers the function that ends the subscription. */
  subscribe(listener: PodListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  start(): void {
    this.#done ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const nextMs = performance.now() + RELIST_DELAY_MS;
      try {
        await this.#listAndWatch(signal);
      } catch (err) {
        if (signal.aborted) return;
        this.#options.onError(err);
      }
      await delay(Math.max(0, nextMs - performance.now()), undefined, { signal }).catch(() => undefined);
    }
  }

  async #listAndWatch(signal: AbortSignal): Promise<void> {
    const { cluster, labels, namespace, onListed } = this.#options;
    const list = await cluster.listPods(labels, namespace);
    const there = new Set(list.items.map(keyOf));
    for (const [key, last] of this.#pods) if (!there.has(key)) this.#remove(key, last);
    for (const pod of list.items) this.#put(pod);
    this.#synced = true;
    onListed?.();
    const period = AbortSignal.any([signal, AbortSignal.timeout(RELIST_PERIOD_MS)]);
    for await (const event of cluster.watchPods(labels, list.resourceVersion, period, namespace)) {
      if (event.type === 'DELETED') this.#remove(keyOf(event.pod), event.pod);
      else if (event.type !== 'BOOKMARK') this.#put(event.pod);
    }
  }

  #put(pod: V1Pod): void {
    const key = keyOf(pod);
    const before = this.#pods.get(key);
    // Deleted and created again under the same name between two lists.
    if (before !== undefined && before.metadata?.uid !== pod.metadata?.uid) this.#remove(key, before);
    this.#pods.set(key, pod);
    for (const listener of this.#listeners) listener(pod, pod);
  }

  #remove(key: string, last: V1Pod): void {
    this.#pods.delete(key);
    for (const listener of this.#listeners) listener(undefined, last);
  }
}

function keyOf(pod: V1Pod): string {
  return `${pod.metadata?.namespace ?? ''}/${pod.metadata?.name ?? ''}`;
}
