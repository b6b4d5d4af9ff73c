import { pause } from './pause.ts';

export interface Repetition {
  /** Between two calls, in milliseconds, once there is nothing more to do. */
  readonly periodMs: number;
  readonly onError: (err: unknown) => void;
  readonly signal: AbortSignal;
}

/** Between two calls when there is more to do at once, and after an error. */
const SOON_MS = 50;
const RETRY_MS = 2_000;

/** Calls `step` again and again until `signal`. It answers whether there is nothing more to do at this time. */
export async function repeat(step: () => Promise<boolean>, { periodMs, onError, signal }: Repetition): Promise<void> {
  while (!signal.aborted) {
    let pauseMs = RETRY_MS;
    try {
      pauseMs = (await step()) ? periodMs : SOON_MS;
    } catch (err) {
      onError(err);
    }
    await pause(pauseMs, signal);
  }
}
