import { fail } from '../contract/failures.ts';

/**
 * kube-apiserver cuts a request 60 s after it has received it, including up to 15 s in its own queue, so that an answer has to be out by
 * then with some to spare (aggregated requests are never long-running, kubernetes/kubernetes#73421).
 */
export const LONGEST_ANSWER_MS = 40_000;
/** How long whoever does not wait for the devices is let wait for the object that shows the mount. It is there in milliseconds. */
export const SHOWN_MS = 5_000;
/** Likewise after waiting for the devices in vain: by then it has long been there. */
const SHOWN_LATE_MS = 1_000;
/** The answer has to travel back before the client gives up. */
const TIMEOUT_MARGIN_MS = 5_000;

/** How long to wait from now on before answering that the work goes on. `timeoutMs` is the client's own patience, counted from its request. */
function answerWithinMs(timeoutMs: number | undefined, elapsedMs: number): number {
  const own =
    timeoutMs === undefined
      ? LONGEST_ANSWER_MS
      : Math.min(LONGEST_ANSWER_MS, Math.max(timeoutMs - TIMEOUT_MARGIN_MS, timeoutMs / 2));
  return Math.max(0, own - elapsedMs);
}

export interface Patience {
  /** For the devices; 0: the caller does not want to wait. */
  readonly mountedMs: number;
  /** After that for the object that shows the mount. */
  readonly shownMs: number;
}

/** What is left of the caller's own patience and kube-apiserver's. */
export function patienceOf(waitSeconds: number, timeoutMs: number | undefined, elapsedMs: number): Patience {
  const leftMs = answerWithinMs(timeoutMs, elapsedMs);
  if (waitSeconds === 0) return { mountedMs: 0, shownMs: Math.min(SHOWN_MS, leftMs) };
  return { mountedMs: leftMs, shownMs: Math.min(SHOWN_LATE_MS, leftMs / 4) };
}

/**
 * Whatever of the task is still going on then counts on among those in flight, and answers nobody.
 * @throws Timeout
 */
export async function within<T>(limitMs: number | undefined, task: () => Promise<T>): Promise<T> {
  if (limitMs === undefined) return task();
  const late = Promise.withResolvers<never>();
  const message = `Cannot answer within ${limitMs / 1_000} s: the request may have been taken all the same`;
  const timer = setTimeout(() => late.reject(fail('Timeout', message)), limitMs);
  try {
    return await Promise.race([task(), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
