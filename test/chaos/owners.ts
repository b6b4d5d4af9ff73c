import type { FaultKind } from './faults.ts';
import type { History } from './history.ts';
import { type Excuse, excuseOf, type Overlap, overlapsIn } from './witness/overlap.ts';
import type { Run } from './witness/runs.ts';

/** Ends of a slave that let the next one have its device before the node worker can know. */
const AT_ONCE: Partial<Record<FaultKind, string>> = {
  'delete slave by force': 'a slave was deleted by force',
  'delete slave within a second': 'a slave was deleted within a second',
};
/** How long after such an end its target may still have the device. */
const AT_ONCE_MS = 30_000;

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
    const why = AT_ONCE[fault.kind];
    if (why === undefined || pod === undefined || hit === undefined) return [];
    return [{ why, node: fault.node ?? '', pod, fromMs: atMs, toMs: atMs + AT_ONCE_MS }];
  });
}
