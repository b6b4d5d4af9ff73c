import { type FailureCause, failureOf } from '../../contract/failures.ts';

/** The failure that a call ended with, in the words of `FAILURES`, or what it answered instead. */
export async function failureFrom(
  call: Promise<unknown>,
): Promise<{ readonly type: string; readonly message: string; readonly causes: readonly string[] }> {
  try {
    const answer = await call;
    return { type: 'none', message: JSON.stringify(answer), causes: [] };
  } catch (err) {
    const failure = failureOf(err);
    if (failure === undefined) throw err;
    const causes = (failure.details?.[0] as readonly FailureCause[] | undefined) ?? [];
    return { type: failure.type, message: failure.message, causes: causes.map(({ reason }) => reason) };
  }
}

/** Between two questions, in milliseconds: soon at first, and few of them where it takes long, since each costs the server. */
const PAUSE = { first: 10, factor: 1.5, longest: 250 };

/** Longer than a test may take: what hangs has failed by then, and must not go on beside the tests that follow. */
const LONGEST_WAIT_MS = 900_000;

/** Waits until `check` answers something, by asking again. Throws after a quarter of an hour, when the test has long failed. */
export async function eventually<T>(check: () => T | undefined | Promise<T | undefined>): Promise<T> {
  const untilMs = performance.now() + LONGEST_WAIT_MS;
  for (let pause = PAUSE.first; ; pause = Math.min(PAUSE.longest, pause * PAUSE.factor)) {
    const answer = await check();
    if (answer !== undefined && answer !== false) return answer;
    if (performance.now() > untilMs) throw new Error(`Cannot wait any longer for ${check.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}
