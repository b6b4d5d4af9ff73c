import { Context } from '@temporalio/activity';

type Activity = (input: never) => Promise<unknown>;

/** Where a workflow is to be stopped: just before a step does anything, or when it is done and has not answered. */
export interface Boundary {
  readonly activity: string;
  readonly when: 'before' | 'after';
}

interface Gate {
  readonly activity: string;
  readonly reached: PromiseWithResolvers<void>;
  readonly open: PromiseWithResolvers<void>;
}

/** Stops workflows at the boundaries of their steps, each once. */
export class Gates {
  readonly #gates = new Map<string, Gate>();

  /** Resolves when the workflow has been stopped there. */
  stop(workflowId: string, boundary: Boundary): Promise<void> {
    const { activity } = boundary;
    const gate = { activity, reached: Promise.withResolvers<void>(), open: Promise.withResolvers<void>() };
    this.#gates.set(keyOf(workflowId, boundary), gate);
    return gate.reached.promise;
  }

  /** Lets all go on. */
  open(): void {
    for (const { open } of this.#gates.values()) open.resolve();
    this.#gates.clear();
  }

  /** What stands at gates of these steps never goes on, as in a process that was killed. */
  abandon(isKilled: (activity: string) => boolean): void {
    for (const [key, { activity }] of this.#gates) if (isKilled(activity)) this.#gates.delete(key);
  }

  /** The same activities, with gates around them. */
  around<A extends object>(activities: A): A {
    const gated = Object.entries(activities as Record<string, Activity>).map(([activity, run]) => [
      activity,
      async (input: never): Promise<unknown> => {
        await this.#pass({ activity, when: 'before' });
        const result = await run(input);
        await this.#pass({ activity, when: 'after' });
        return result;
      },
    ]);
    return Object.fromEntries(gated) as A;
  }

  async #pass(boundary: Boundary): Promise<void> {
    const key = keyOf(Context.current().info.workflowExecution?.workflowId ?? '', boundary);
    const gate = this.#gates.get(key);
    if (gate === undefined) return;
    gate.reached.resolve();
    await gate.open.promise;
    this.#gates.delete(key);
  }
}

function keyOf(workflowId: string, { activity, when }: Boundary): string {
  return `${workflowId} ${when} ${activity}`;
}
