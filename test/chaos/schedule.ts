import { FAULTS, type FaultKind, KINDS } from './faults.ts';
import type { Random } from './random.ts';

/** A fault as the seed has decided it. */
export interface PlannedFault {
  /** From 1. */
  readonly index: number;
  readonly kind: FaultKind;
  /** Absent where all nodes share what is hit. */
  readonly node?: string;
  /** Pause after the beginning of the fault before, in milliseconds. */
  readonly afterMs: number;
  /** How long it stays frozen or away, in milliseconds. */
  readonly holdMs: number;
  /** At least 0, below 1: which of several replicas or pods. */
  readonly which: number;
}

const PAUSE_MS = [500, 5_000] as const;

/** The faults of a seed, without end. The same seed and nodes give the same ones. */
export function* scheduleOf(random: Random, nodes: readonly string[]): Generator<PlannedFault, never> {
  const weights = Object.fromEntries(KINDS.map((kind) => [kind, FAULTS[kind].weight])) as Record<FaultKind, number>;
  /** Group, and node where it has one → until when it is left alone. */
  const calmUntil = new Map<string, number>();
  let atMs = 0;
  for (let index = 1; ; index++) {
    const afterMs = random.between(PAUSE_MS);
    atMs += afterMs;
    for (;;) {
      const kind = random.weighted(weights);
      const { where, group, holdMs: hold, calmMs } = FAULTS[kind];
      const node = where === 'cluster' ? undefined : random.pick(nodes);
      const holdMs = random.between(hold);
      const key = `${group} ${node ?? ''}`;
      if ((calmUntil.get(key) ?? 0) > atMs) continue;
      calmUntil.set(key, atMs + holdMs + calmMs);
      yield { index, kind, ...(node !== undefined && { node }), afterMs, holdMs, which: random.next() };
      break;
    }
  }
}

/** One line for people: `#12 kill kubelet on node-2, away for 1.2 s`. */
export function wordsOf({ index, kind, node, holdMs }: PlannedFault): string {
  const where = node === undefined ? '' : ` on ${node}`;
  const hold = holdMs === 0 ? '' : `, ${kind.startsWith('freeze') ? '' : 'away '}for ${(holdMs / 1_000).toFixed(1)} s`;
  return `#${index} ${kind}${where}${hold}`;
}
