import type { Run } from './runs.ts';

/** Two pods of one node that could use its one device at the same time. */
export interface Overlap {
  readonly node: string;
  readonly pods: readonly [string, string];
  readonly fromMs: number;
  readonly toMs: number;
}

/** When something that is allowed to lead to two owners was done. */
export interface Excuse {
  readonly why: string;
  readonly node: string;
  /** The target whose slave was concerned; any of the node when absent. */
  readonly pod?: string;
  readonly fromMs: number;
  readonly toMs: number;
}

/** When a run surely had the device: between two tries that succeeded. A single try had it at some moment in between. */
function surely(run: Run): readonly [number, number] {
  return isStretch(run) ? [run.firstMs[1], run.lastMs[0]] : [run.firstMs[0], run.lastMs[1]];
}

const isStretch = ({ tries }: Run): boolean => tries > 1;

/** All that two different pods of a node surely had at once. Nothing is said of less than a try of the one within the other. */
export function overlapsIn(runs: readonly Run[]): Overlap[] {
  const byNode = Map.groupBy(
    runs.filter(({ could }) => could),
    ({ node }) => node,
  );
  return [...byNode].flatMap(([node, had]) => {
    const sorted = had.toSorted((a, b) => surely(a)[0] - surely(b)[0]);
    return sorted.flatMap((a, index) => {
      const end = surely(a)[1];
      const rest = sorted.slice(index + 1);
      const until = rest.findIndex((b) => surely(b)[0] > end);
      return rest
        .slice(0, until === -1 ? undefined : until)
        .filter((b) => b.pod !== a.pod)
        .flatMap((b) => overlapOf(node, a, b));
    });
  });
}

function overlapOf(node: string, a: Run, b: Run): Overlap[] {
  const [[fromA, toA], [fromB, toB]] = [surely(a), surely(b)];
  const [fromMs, toMs] = [Math.max(fromA, fromB), Math.min(toA, toB)];
  // Of a single try only the whole of it counts.
  const isSure = [a, b].every((run) => isStretch(run) || (fromMs <= run.firstMs[0] && toMs >= run.lastMs[1]));
  return toMs > fromMs && isSure ? [{ node, pods: [a.pod, b.pod], fromMs, toMs }] : [];
}

/** The excuse that an overlap has, if there is one. */
export function excuseOf({ node, pods, fromMs }: Overlap, excuses: readonly Excuse[]): Excuse | undefined {
  return excuses.find(
    (excuse) =>
      excuse.node === node &&
      (excuse.pod === undefined || pods.includes(excuse.pod)) &&
      fromMs >= excuse.fromMs &&
      fromMs <= excuse.toMs,
  );
}
