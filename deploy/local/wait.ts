import { setTimeout as delay } from 'node:timers/promises';
import { elapsed } from './progress.ts';

export interface WaitOptions {
  readonly timeoutMs: number;
  readonly everyMs?: number;
  readonly signal?: AbortSignal | undefined;
  /** Says why waiting on makes no sense any more; answered text becomes the error. */
  readonly hopeless?: () => string | undefined;
}

/** Waits until `condition` answers something other than `undefined` or `false`, and answers that. Throws `Cannot …` at the deadline. */
export async function until<T>(
  what: string,
  condition: () => Promise<T | undefined | false> | T | undefined | false,
  options: WaitOptions,
): Promise<T> {
  const deadline = performance.now() + options.timeoutMs;
  for (;;) {
    options.signal?.throwIfAborted();
    const result = await condition();
    if (result !== undefined && result !== false) return result;
    const reason = options.hopeless?.();
    if (reason !== undefined) throw new Error(`Cannot wait for "${what}": ${reason}`);
    if (performance.now() > deadline)
      throw new Error(`Cannot wait for "${what}": not so after ${elapsed(options.timeoutMs)}`);
    await delay(options.everyMs ?? 20, undefined, { signal: options.signal });
  }
}

/**
 * Runs tasks side by side. The first that fails aborts the signal of the others, and is thrown once all have ended: nothing is
 * started any more while the caller cleans up.
 */
export async function sideBySide(
  signal: AbortSignal | undefined,
  tasks: readonly ((signal: AbortSignal) => Promise<unknown>)[],
): Promise<void> {
  const failure = new AbortController();
  const either = signal === undefined ? failure.signal : AbortSignal.any([signal, failure.signal]);
  const attempts = tasks.map(async (task) => {
    try {
      await task(either);
    } catch (err) {
      failure.abort(err);
    }
  });
  await Promise.all(attempts);
  failure.signal.throwIfAborted();
}
