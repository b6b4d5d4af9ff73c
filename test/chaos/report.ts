import { elapsed } from '../../deploy/local/progress.ts';
import type { Call, History } from './history.ts';
import type { Judged } from './owners.ts';
import type { Run } from './witness/runs.ts';

export interface Reported {
  readonly history: History;
  readonly runs: readonly Run[];
  readonly overlaps: readonly Judged[];
  readonly tookMs: number;
}

/** What a run has come to, in lines for people. */
export function reportOf({ history, runs, overlaps, tookMs }: Reported): string[] {
  const struck = history.of('fault');
  const hit = struck.filter((each) => each.hit !== undefined);
  const could = runs.filter((run) => run.could);
  const rests = history.of('rest');
  const violations = history.of('violation');
  return [
    `${hit.length} faults in ${elapsed(tookMs)}; ${struck.length - hit.length} more found nothing to hit`,
    ...countedLines(hit.map(({ fault }) => fault.kind)),
    `${history.of('call').length} calls of clients:`,
    ...countedLines(history.of('call').map(answerOf)),
    `${could.length} times a target had the device, seen by ${sum(could)} opens and ${sum(runs) - sum(could)} refusals`,
    ...ownersLines(overlaps),
    `At rest: ${rests.map(({ mounts, tookMs: ms }) => `${mounts} mounts after ${elapsed(ms)}`).join(', ') || 'never'}`,
    ...violations.map(({ what, fault }) => `VIOLATION after fault #${fault}: ${what}`),
    violations.length === 0 ? 'Clean.' : `${violations.length} violations.`,
  ];
}

/** How a call was answered, to be counted. */
export function answerOf({ verb, status, failure }: Pick<Call, 'verb' | 'status' | 'failure'>): string {
  if (status === undefined) return `${verb}: no answer`;
  return [`${verb}: ${status}`, failure].filter(Boolean).join(' ');
}

const sum = (runs: readonly Run[]): number => runs.reduce((count, { tries }) => count + tries, 0);

function countedLines(names: readonly string[]): string[] {
  const counts = [...Map.groupBy(names, (name) => name)].map(([name, all]) => `${name} ×${all.length}`);
  return counts.toSorted().map((line) => `  ${line}`);
}

function ownersLines(overlaps: readonly Judged[]): string[] {
  if (overlaps.length === 0) return ['Never two targets at once.'];
  const byWhy = Map.groupBy(overlaps, ({ excuse }) => excuse?.why ?? 'without an excuse');
  return [...byWhy].map(([why, all]) => {
    const longest = Math.max(...all.map(({ fromMs, toMs }) => toMs - fromMs));
    return `Two targets at once, ${why}: ×${all.length}, at most ${longest.toFixed(0)} ms`;
  });
}
