import { pause } from '../../process/pause.ts';
import type { PodView } from './pod-view.ts';
import type { SlaveSource } from './pods.ts';

export interface SlaveWatchOptions {
  readonly source: SlaveSource;
  /** Told each time a slave is seen that has ended or is ending, by UID, and with why. */
  readonly onEnd: (uid: string, why: string) => void;
  /** Told after each complete list, with the UIDs of the slaves that are there. */
  readonly onList: (uids: ReadonlySet<string>) => void;
  /** Told of each change, for those who wait for one. */
  readonly onChange: () => void;
  readonly onError: (err: unknown) => void;
  /** Pause after a failure, in milliseconds. */
  readonly retryMs: number;
  /** A watch may stop to deliver without an error: it is made anew after this time, in milliseconds. */
  readonly periodMs: number;
}

/** Follows the slave pods of this node by list and watch. */
export class SlaveWatch {
  readonly #options: SlaveWatchOptions;
  readonly #stop = new AbortController();
  #slaves: ReadonlyMap<string, PodView> = new Map();
  #lastStartMs = 0;
  #synced = false;
  #done: Promise<void> | undefined;

  constructor(options: SlaveWatchOptions) {
    this.#options = options;
  }

  /** True while what is known is fresh: after a list, until the next one fails. */
  get synced(): boolean {
    return this.#synced;
  }

  /** Why the slave's devices are no longer its own; undefined while it is well or not seen yet. */
  endOf(uid: string): string | undefined {
    return this.#slaves.get(uid)?.end;
  }

  /** Whether the slave's containers run; undefined while it is not seen. */
  runs(uid: string): boolean | undefined {
    return this.#slaves.get(uid)?.running;
  }

  /** When a slave was last seen to begin to run, in milliseconds since 1970; 0 before the first. */
  get lastStartMs(): number {
    return this.#lastStartMs;
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
      try {
        await this.#listAndWatch(signal);
      } catch (err) {
        if (signal.aborted) return;
        this.#synced = false;
        this.#options.onError(err);
        await pause(this.#options.retryMs, signal);
      }
    }
  }

  async #listAndWatch(signal: AbortSignal): Promise<void> {
    const { source, onList, onChange, periodMs } = this.#options;
    const { pods, resourceVersion } = await source.list();
    const slaves = new Map(pods.map((pod) => [pod.uid, pod]));
    for (const pod of pods) this.#noteStart(pod);
    this.#slaves = slaves;
    this.#synced = true;
    onList(new Set(slaves.keys()));
    for (const pod of pods) this.#tell(pod);
    onChange();
    const began = performance.now();
    const period = AbortSignal.any([signal, AbortSignal.timeout(periodMs)]);
    await source.watch(
      resourceVersion,
      (pod, gone) => {
        this.#noteStart(pod);
        slaves.set(pod.uid, gone ? { ...pod, end: pod.end ?? 'it is gone' } : pod);
        this.#tell(slaves.get(pod.uid) ?? pod);
        onChange();
      },
      period,
    );
    // A watch that ends at once would be made anew without a pause.
    if (performance.now() - began < this.#options.retryMs) await pause(this.#options.retryMs, signal);
  }

  #noteStart({ uid, running }: PodView): void {
    if (running && this.#slaves.get(uid)?.running !== true) this.#lastStartMs = Date.now();
  }

  #tell({ uid, end }: PodView): void {
    if (end !== undefined) this.#options.onEnd(uid, end);
  }
}
