import { atLeast, atMost, type Figure, measured, p50, p95 } from './figure.ts';
import { GROUPS, type ProcessorTime } from './processor-time.ts';

/** What is timed, in words for the table. */
export const TIMED = {
  'bare-pod': 'start of a bare pod',
  hostdev: 'mount, device nodes known at admission (`HOSTDEV`)',
  generic: 'mount, waiting for the running slave (`GENERIC`)',
  unmount: 'unmount, until the device is gone',
  original: "mount by the original's steps",
} as const;
export type TimedName = keyof typeof TIMED;

/** Of the start of a bare pod, at most. */
const GOALS: Partial<Record<TimedName, number>> = { hostdev: 0.25, generic: 1.1, unmount: 0.2 };
/** The slowest requests may take so many times the middle one. */
const SPREAD = 2;

/** Of one node. */
export interface MountTimes {
  readonly node: string;
  readonly cgroup: 1 | 2;
  /** Milliseconds, one of each round. */
  readonly times: Readonly<Record<TimedName, readonly number[]>>;
  /** Of one mount and its unmount. */
  readonly processorTime: ProcessorTime;
}

const NAMES = Object.keys(TIMED) as readonly TimedName[];

export function mountFigures({ node, cgroup, times, processorTime }: MountTimes): readonly Figure[] {
  const at = `mount.${node}.v${cgroup}`;
  const bare = p50(times['bare-pod']);
  return [
    ...NAMES.flatMap((name) => [
      measured(`${at}.${name}.p50`, p50(times[name]), 'ms'),
      GOALS[name] === undefined
        ? measured(`${at}.${name}.p95`, p95(times[name]), 'ms')
        : atMost(`${at}.${name}.p95`, p95(times[name]), 'ms', Number((SPREAD * p50(times[name])).toPrecision(3))),
    ]),
    ...NAMES.flatMap((name) => {
      const goal = GOALS[name];
      return goal === undefined ? [] : [atMost(`${at}.${name}-to-bare-pod`, p50(times[name]) / bare, 'times', goal)];
    }),
    atLeast(`${at}.original-to-hostdev`, p50(times.original) / p50(times.hostdev), 'times', 1),
    ...GROUPS.map((group) =>
      measured(`${at}.processor-time.${group.replaceAll(' ', '-')}`, processorTime[group], 'ms'),
    ),
    measured(`${at}.processor-time`, totalOf(processorTime), 'ms'),
  ];
}

/** The tables of docs/performance.md. */
export function mountTables(all: readonly MountTimes[]): string {
  const nodes = all.map(({ node, cgroup }) => `${node} (v${cgroup})`);
  return [
    table(
      ['figure: p50 (p95)', ...nodes, 'goal'],
      [
        ...NAMES.map((name) => [TIMED[name], ...all.map(({ times }) => bothOf(times[name])), '']),
        ...Object.entries(GOALS).map(([name, goal]) => [
          `${name === 'unmount' ? name : `\`${name.toUpperCase()}\``} of a bare pod's start`,
          ...all.map(({ times }) => (p50(times[name as TimedName]) / p50(times['bare-pod'])).toFixed(2)),
          `≤ ${goal.toFixed(2)}`,
        ]),
      ],
    ),
    table(
      ['processor time of a mount and its unmount', ...nodes],
      [
        ...GROUPS.map((group) => [group, ...all.map(({ processorTime }) => msOf(processorTime[group]))]),
        ['all', ...all.map(({ processorTime }) => msOf(totalOf(processorTime)))],
      ],
    ),
  ].join('\n\n');
}

const msOf = (ms: number): string => `${ms.toFixed(0)} ms`;
const bothOf = (values: readonly number[]): string => `${msOf(p50(values))} (${p95(values).toFixed(0)})`;
const totalOf = (time: ProcessorTime): number => GROUPS.reduce((sum, group) => sum + time[group], 0);

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((cell, column) => Math.max(cell.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const lineOf = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  return [lineOf(head), lineOf(widths.map((width) => '-'.repeat(width))), ...rows.map(lineOf)].join('\n');
}
