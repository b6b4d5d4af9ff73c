import { until as wait } from '../../deploy/local/wait.ts';

/** Minutes only tell what hangs from what is slow on a busy machine. Asks every `everyMs` until `condition` answers something else than `undefined` or `false`. Throws after `timeoutMs` naming `what`. */
export function until<T>(
  what: string,
  condition: () => Promise<T | undefined | false>,
  timeoutMs = 180_000,
  everyMs = 100,
): Promise<T> {
  return wait(what, condition, { timeoutMs, everyMs });
}
