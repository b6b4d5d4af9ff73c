import type { FaultKind } from './faults.ts';
import type { History } from './history.ts';
import { type Excuse, excuseOf, type Overlap, overlapsIn } from './witness/overlap.ts';
import type { Run } from './witness/runs.ts';

/** Ends of a slave that let the next one have its device before the node worker can know, and for how long its target may have it still. */
const AT_ONCE: Partial<Record<FaultKind, { readonly why: string; readonly ms: number }>> = {
  'delete slave by force': { why: 'a slave was deleted by force', ms: 30_000 },
  'evict slave hard': { why: 'a slave was evicted without its grace period', ms: 30_000 },
};

export interface Judged extends Overlap {
  readonly excuse?: Excuse;
}

/** Where two targets of a node had its device at once, each with its excuse if it has one. */
export function judgedOverlaps(runs: readonly Run[], history: History, more: readonly Excuse[]): Judged[] {
  const excuses = [...endedAtOnce(history), ...more];
  return overlapsIn(runs).map((overlap) => {
    const excuse = excuseOf(overlap, excuses);
    return { ...overlap, ...(excuse !== undefined && { excuse }) };
  });
}

function endedAtOnce(history: History): Excuse[] {
  return history.of('fault').flatMap(({ fault, pod, hit, atMs }) => {
    const end = AT_ONCE[fault.kind];
    if (end === undefined || pod === undefined || hit === undefined) return [];
    return [{ why: end.why, node: fault.node ?? '', pod, fromMs: atMs, toMs: atMs + end.ms }];
  });
}
