/** Milliseconds since 1970 when CLOCK_MONOTONIC was 0, as this process sees it. */
const START_MS = Date.now() - Number(process.hrtime.bigint()) / 1e6;

/** Milliseconds since 1970 by a clock that never steps, so that times of different processes of this machine can be compared. */
export function now(): number {
  return timeOf(process.hrtime.bigint());
}

/** The same for a time of CLOCK_MONOTONIC in nanoseconds. */
export function timeOf(monotonicNs: bigint): number {
  return Number(monotonicNs) / 1e6 + START_MS;
}
