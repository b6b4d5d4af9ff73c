import { CancellationScope, log } from '@temporalio/workflow';
import { fail } from '../contract/failures.ts';

interface Step {
  /** What is left behind when `undo` fails. */
  readonly what: string;
  /** Undoing what was never done succeeds. */
  readonly undo: () => Promise<unknown>;
}

/** To be called before the step that `undo` undoes: a step that timed out may still have happened. */
export type Register = (what: string, undo: () => Promise<unknown>) => void;

/**
 * Runs `body`. When it throws or is cancelled, undoes its steps, the last first, and rethrows.
 * @throws RollbackIncomplete, with the first error as its cause, when a step could not be undone
 */
export async function saga<T>(body: (register: Register) => Promise<T>): Promise<T> {
  const steps: Step[] = [];
  try {
    return await body((what, undo) => steps.push({ what, undo }));
  } catch (err) {
    // A cancelled scope would cancel the clean-up too.
    const left = await CancellationScope.nonCancellable(() => rollback(steps));
    if (left.length === 0) throw err;
    throw fail(
      'RollbackIncomplete',
      `Cannot undo everything yet: ${left.join(' and ')}. The reconciler goes on with it`,
      err,
    );
  }
}

/**
 * Answers what is left behind. Stops at the first step that cannot be undone: it still uses what the steps before it made,
 * as an attached device needs the slave that holds it.
 */
async function rollback(steps: readonly Step[]): Promise<readonly string[]> {
  for (let count = steps.length; count > 0; count--) {
    const step = steps[count - 1];
    try {
      await step?.undo();
    } catch (err) {
      log.error('cannot undo a step', { step: step?.what, err });
      return steps.slice(0, count).map(({ what }) => what);
    }
  }
  return [];
}
