import { now } from './clock.ts';
import type { History } from './history.ts';
import { isStopped, productProcesses } from './processes.ts';
import type { Excuse } from './witness/overlap.ts';

const LOOK_MS = 500;
/** An ending slave keeps its device for 25 s. */
const SLAVE_MS = 24_000;
/** Until a node worker that is back has taken back what it missed. */
const CATCH_UP_MS = 10_000;
/** Shorter absences are of no interest. */
const NOTED_MS = 5_000;

interface Absence {
  readonly node: string;
  readonly fromMs: number;
  readonly toMs: number;
}

/** Sees when a node had no node worker that runs: killed, not started again yet, or frozen. */
export class NodeWorkerWatch {
  readonly #history: History;
  readonly #root: string;
  readonly #lastSeen: Map<string, number>;
  readonly #absences: Absence[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(history: History, root: string, nodes: readonly string[]) {
    this.#history = history;
    this.#root = root;
    this.#lastSeen = new Map(nodes.map((node) => [node, now()]));
  }

  start(): void {
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    for (const { part, node, identity } of productProcesses(this.#root)) {
      if (part !== 'node worker' || isStopped(identity)) continue;
      const [fromMs, toMs] = [this.#lastSeen.get(node) ?? now(), now()];
      this.#lastSeen.set(node, toMs);
      if (toMs - fromMs < NOTED_MS) continue;
      this.#absences.push({ node, fromMs, toMs });
      this.#history.add({ type: 'away', node, fromMs, toMs });
    }
  }

  /** Times in which a device may have had two owners, since nobody was there to take it back. */
  excuses(): Excuse[] {
    const going = [...this.#lastSeen].map(([node, fromMs]): Absence => ({ node, fromMs, toMs: now() }));
    return excusesOf([...this.#absences, ...going]);
  }
}

/** Of absences that were longer than a slave waits. */
export function excusesOf(absences: readonly Absence[]): Excuse[] {
  return absences
    .filter(({ fromMs, toMs }) => toMs - fromMs > SLAVE_MS)
    .map(({ node, fromMs, toMs }) => {
      return { why: 'node worker away', node, fromMs: fromMs + SLAVE_MS, toMs: toMs + CATCH_UP_MS };
    });
}
