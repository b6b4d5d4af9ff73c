/**
 * kube-apiserver cuts a request 60 s after it has received it, including up to 15 s in its own queue, so that an answer has to be out by
 * then with some to spare (aggregated requests are never long-running, kubernetes/kubernetes#73421).
 */
export const LONGEST_ANSWER_MS = 40_000;
/** The answer has to travel back before the client gives up. */
const TIMEOUT_MARGIN_MS = 5_000;

/** How long to wait from now on before answering that the work goes on. `timeoutMs` is the client's own patience, counted from its request. */
export function answerWithinMs(timeoutMs: number | undefined, elapsedMs: number): number {
  const own =
    timeoutMs === undefined
      ? LONGEST_ANSWER_MS
      : Math.min(LONGEST_ANSWER_MS, Math.max(timeoutMs - TIMEOUT_MARGIN_MS, timeoutMs / 2));
  return Math.max(0, own - elapsedMs);
}
