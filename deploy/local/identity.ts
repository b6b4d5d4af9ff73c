import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** A process that stays the same one when its pid is given to another: pid, start time in clock ticks since boot, boot. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTicks: string;
  readonly bootId: string;
}

/** Field 22 of /proc/PID/stat (proc_pid_stat(5)). The name before it may hold blanks and brackets. */
export function startTicksOf(stat: string): string {
  const afterName = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = afterName[19];
  if (ticks === undefined) throw new Error(`Cannot read "${stat}": /proc/PID/stat has 52 fields`);
  return ticks;
}

/**
 * Answers `undefined` when there is no such process, or only its zombie. The first thread of a killed process is a zombie while
 * others still end, and hold its ports until then: such a process is there.
 */
export function identityOf(pid: number): ProcessIdentity | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const isZombie = stat[stat.lastIndexOf(')') + 2] === 'Z';
    if (isZombie && readdirSync(`/proc/${pid}/task`).length <= 1) return undefined;
    const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return { pid, startTicks: startTicksOf(stat), bootId };
  } catch {
    return undefined;
  }
}

export function writeIdentity(file: string, identity: ProcessIdentity): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(identity)}\n`);
}

/** The pid of the very process that was recorded in `file`, or `undefined` when it has ended. */
export function livePid(file: string): number | undefined {
  const recorded = readIdentity(file);
  if (recorded === undefined) return undefined;
  const now = identityOf(recorded.pid);
  return now?.startTicks === recorded.startTicks && now.bootId === recorded.bootId ? now.pid : undefined;
}

function readIdentity(file: string): ProcessIdentity | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as ProcessIdentity;
  } catch {
    // Missing, or cut short by a kill while it was written.
    return undefined;
  }
}

export function forgetIdentity(file: string): void {
  rmSync(file, { force: true });
}
