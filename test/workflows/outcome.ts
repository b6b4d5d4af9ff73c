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

/** Waits until `check` answers something, by asking again; a test's own time limit ends it. */
export async function eventually<T>(check: () => T | undefined | Promise<T | undefined>): Promise<T> {
  for (let pause = PAUSE.first; ; pause = Math.min(PAUSE.longest, pause * PAUSE.factor)) {
    const answer = await check();
    if (answer !== undefined && answer !== false) return answer;
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}
