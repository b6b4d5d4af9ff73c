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
