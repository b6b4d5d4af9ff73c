import { until as wait } from '../../deploy/local/wait.ts';

/**
 * Asks every `everyMs` until `condition` answers something else than `undefined` or `false`. Throws after `timeoutMs` naming `what`: minutes,
 * since on a busy machine less does not tell what hangs from what is slow.
 */
export function until<T>(
  what: string,
  condition: () => Promise<T | undefined | false>,
  timeoutMs = 180_000,
  everyMs = 100,
): Promise<T> {
  return wait(what, condition, { timeoutMs, everyMs });
}
