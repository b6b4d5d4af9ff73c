import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { type ProductPart, productPart } from '../chaos/processes.ts';

/** Whose processor time is told apart, in the order of the table. */
export const GROUPS = [
  'Temporal',
  'control workers',
  'API servers',
  'node workers',
  'device plugins',
  'kube-apiserver',
  'etcd',
  'kubelets',
  'containerd and shims',
  'other processes',
  /** They have started and ended in between: runc, new shims. */
  'short-lived processes',
] as const;
export type Group = (typeof GROUPS)[number];
/** Milliseconds. */
export type ProcessorTime = Readonly<Record<Group, number>>;

const OF_PRODUCT: Readonly<Record<ProductPart, Group>> = {
  apiserver: 'API servers',
  'control worker': 'control workers',
  'node worker': 'node workers',
  plugin: 'device plugins',
};

/** The kernel's name of a process has 15 characters. */
const BY_NAME: Readonly<Record<string, Group>> = {
  temporal: 'Temporal',
  'kube-apiserver': 'kube-apiserver',
  etcd: 'etcd',
  kubelet: 'kubelets',
  containerd: 'containerd and shims',
  'containerd-shim': 'containerd and shims',
};

/** Of /proc/PID/stat in a second (getconf CLK_TCK is 100 on every Linux architecture that Node has). */
const TICKS = 100;

export interface ProcessTimes {
  readonly group: Group;
  /** User and system time, of all its threads. */
  readonly ownMs: number;
  /** Those of its children that have ended and were waited for, and of theirs. */
  readonly childrenMs: number;
}

/** All processes, by pid and start time: a pid may be used again. */
export type Snapshot = ReadonlyMap<string, ProcessTimes>;

/** The group of a process, by its name and its /proc/PID/cmdline. */
export function groupOf(name: string, cmdline: string): Group {
  const part = productPart(cmdline);
  if (part !== undefined) return OF_PRODUCT[part];
  if (cmdline.includes('node-worker/kernel/helper-child')) return 'node workers';
  return BY_NAME[name] ?? 'other processes';
}

/** Reads /proc/PID/stat, proc_pid_stat(5). A name may have spaces and parentheses. */
export function parseStat(
  stat: string,
): Omit<ProcessTimes, 'group'> & { readonly name: string; readonly start: string } {
  const name = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'));
  // From the third one, `state`.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ms = (from: number): number => ((Number(fields[from]) + Number(fields[from + 1])) * 1_000) / TICKS;
  return { name, ownMs: ms(11), childrenMs: ms(13), start: fields[19] ?? '' };
}

/** All processes but this one. */
export function snapshot(): Snapshot {
  const processes = new Map<string, ProcessTimes>();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)) {
    try {
      const { name, start, ...times } = parseStat(readFileSync(`/proc/${pid}/stat`, 'latin1'));
      const group = groupOf(name, readFileSync(`/proc/${pid}/cmdline`, 'latin1'));
      processes.set(`${pid} ${start}`, { group, ...times });
    } catch {
      // It has ended since the folder was read.
    }
  }
  return processes;
}

/** What was used between two snapshots. */
export function usedBetween(before: Snapshot, after: Snapshot): ProcessorTime {
  const used = Object.fromEntries(GROUPS.map((group) => [group, 0])) as Record<Group, number>;
  for (const [id, { group, ownMs, childrenMs }] of after) {
    used[group] += ownMs - (before.get(id)?.ownMs ?? 0);
    used['short-lived processes'] += childrenMs;
  }
  for (const [id, { ownMs, childrenMs }] of before) {
    // All that it has used is now with whoever has waited for it.
    used['short-lived processes'] -= childrenMs + (after.has(id) ? 0 : ownMs);
  }
  return used;
}

/** What each of `rounds` took, without what the machine does anyway. */
export async function timePerRound(rounds: number, one: () => Promise<unknown>): Promise<ProcessorTime> {
  const start = performance.now();
  const busy = await usedBy(async () => {
    for (let round = 0; round < rounds; round++) await one();
  });
  const idle = await usedBy(() => delay(performance.now() - start));
  return Object.fromEntries(GROUPS.map((group) => [group, (busy[group] - idle[group]) / rounds])) as ProcessorTime;
}

async function usedBy(use: () => Promise<unknown>): Promise<ProcessorTime> {
  const before = snapshot();
  await use();
  return usedBetween(before, snapshot());
}
