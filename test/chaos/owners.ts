import type { History } from './history.ts';
import { type Excuse, excuseOf, type Overlap, overlapsIn } from './witness/overlap.ts';
import type { Run } from './witness/runs.ts';

/** How long after a slave was deleted by force its target may still have the device. */
const FORCED_MS = 30_000;

export interface Judged extends Overlap {
  readonly excuse?: Excuse;
}

/** Where two targets of a node had its device at once, each with its excuse if it has one. */
export function judgedOverlaps(runs: readonly Run[], history: History, more: readonly Excuse[]): Judged[] {
  const excuses = [...forcedSlaves(history), ...more];
  return overlapsIn(runs).map((overlap) => {
    const excuse = excuseOf(overlap, excuses);
    return { ...overlap, ...(excuse !== undefined && { excuse }) };
  });
}

/** Whoever deletes a slave by force lets the next one have its device before the node worker can know. */
function forcedSlaves(history: History): Excuse[] {
  return history
    .of('fault')
    .filter(({ fault, pod, hit }) => fault.kind === 'delete slave by force' && pod !== undefined && hit !== undefined)
    .map(({ fault, pod, atMs }) => ({
      why: 'a slave was deleted by force',
      node: fault.node ?? '',
      ...(pod !== undefined && { pod }),
      fromMs: atMs,
      toMs: atMs + FORCED_MS,
    }));
}
