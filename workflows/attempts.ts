import type { Attempt, ReconcileFinding } from '../contract/workflows.ts';

const HOUR_MS = 3_600_000;

/** So many mounts are remembered: their names have to fit into the report. Those beyond are tried in each pass. */
const REMEMBERED = 1_500;

type Found = Pick<ReconcileFinding, 'namespace' | 'mount'>;

/**
 * What earlier passes of the reconciler have tried, and this one finds again: it is tried in the 1st, 2nd, 4th, 8th … pass in a row that
 * finds it, and at least once an hour.
 */
export class Attempts {
  readonly #before: ReadonlyMap<string, Attempt>;
  readonly #now = new Map<string, Attempt>();

  /** @param before by the pass before; @param now by earlier runs of this pass */
  constructor(before: readonly Attempt[], now: readonly Attempt[]) {
    this.#before = new Map(before.map((attempt) => [idOf(attempt), attempt]));
    for (const attempt of now) this.#now.set(idOf(attempt), attempt);
  }

  /** Of the pass before. */
  get before(): readonly Attempt[] {
    return [...this.#before.values()];
  }

  /** For the next pass. */
  get now(): readonly Attempt[] {
    return [...this.#now.values()].slice(0, REMEMBERED);
  }

  /** Takes note of what was found. Answers why it is not tried in this pass, if it is not. */
  found({ namespace, mount }: Found, nowMs: number): string | undefined {
    const before = this.#before.get(idOf({ namespace, mount }));
    const passes = (before?.passes ?? 0) + 1;
    const isDue = before === undefined || isPowerOfTwo(passes) || nowMs - before.triedAtMs >= HOUR_MS;
    const triedAtMs = isDue ? nowMs : before.triedAtMs;
    this.#now.set(idOf({ namespace, mount }), { namespace, mount, passes, triedAtMs });
    if (isDue) return undefined;
    const next = 2 ** Math.ceil(Math.log2(passes));
    return `waits after trying in vain: pass ${passes} in a row finds it, pass ${next} tries again, or the first an hour after the last try`;
  }
}

function idOf({ namespace, mount }: Found): string {
  return `${namespace}/${mount}`;
}

function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(Math.log2(value));
}
