import { type FSWatcher, watch } from 'node:fs';

/** Wakes whoever waits when something in one of the directories changes; files are replaced there, so files are not watched. */
export class Changes {
  readonly #watchers: readonly FSWatcher[];
  readonly #waiting = new Set<() => void>();
  #count = 0;

  /** @param onError told when a directory cannot be watched; waiting then only polls */
  constructor(directories: readonly string[], onError: (err: unknown) => void) {
    this.#watchers = directories.flatMap((directory) => {
      try {
        return [watch(directory, () => this.notify()).on('error', onError)];
      } catch (err) {
        onError(err);
        return [];
      }
    });
  }

  /** How many changes there were. */
  get count(): number {
    return this.#count;
  }

  /** How many wait now. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Wakes all who wait now. */
  notify(): void {
    this.#count++;
    for (const wake of this.#waiting) wake();
  }

  /**
   * Resolves once there were more changes than `seen` (taken from `count` before looking), and after `pollMs` at the latest.
   * Rejects with the signal's reason.
   */
  async next(seen: number, pollMs: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#count !== seen) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, pollMs);
    const abort = (): void => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    this.#waiting.add(resolve);
    try {
      await promise;
    } finally {
      this.#waiting.delete(resolve);
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    }
  }

  close(): void {
    for (const watcher of this.#watchers) watcher.close();
  }
}
