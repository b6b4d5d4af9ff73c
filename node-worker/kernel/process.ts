import { readFileSync } from 'node:fs';
import { stableBytes, syscall } from './syscall.ts';

/** What /proc/PID/stat says of a process (proc_pid_stat(5)). */
export interface ProcessStat {
  /** The tenant's text: the process chooses it. Fit for messages: printable, at most 32 characters. */
  readonly command: string;
  /** R, S, D, T, Z, … */
  readonly state: string;
  /** Clock ticks since boot; with the pid it names one process for ever. */
  readonly startTime: string;
}

/** Throws the ENOENT or ESRCH of node:fs when there is no such process. */
export function processStat(pid: number): ProcessStat {
  return parseProcessStat(readFileSync(`/proc/${pid}/stat`, 'latin1'));
}

/** The command is in parentheses and may itself hold any of them, so the last one ends it. */
export function parseProcessStat(text: string): ProcessStat {
  const end = text.lastIndexOf(')');
  const fields = text.slice(end + 2).split(' ');
  // Fields 3 (state) and 22 (starttime), counted from 1; the first after the command is field 3.
  const command = printable(text.slice(text.indexOf('(') + 1, end));
  return { command, state: fields[0] ?? '', startTime: fields[19] ?? '' };
}

/** The kernel cuts names at 15 bytes, but a line feed then counts four: `\\012`. */
const MAX_COMMAND = 32;

/** A name may hold what moves a terminal's cursor, turns the direction of the text, or ends a line. */
function printable(name: string): string {
  const text = Buffer.from(name, 'latin1').toString('utf8');
  return text.replaceAll(/[^\p{L}\p{M}\p{N}\p{P}\p{S} ]|\ufffd/gu, '?').slice(0, MAX_COMMAND);
}

/** A descriptor that means this process for ever. Throws `SyscallError` ESRCH when there is none. */
export function pidfdOpen(pid: number): number {
  return syscall('pidfd_open', [pid, 0], String(pid));
}

/** Throws `SyscallError` ESRCH when the process has been reaped. Signal 0 only asks. */
export function pidfdSignal(pidfd: number, signal: number): void {
  syscall('pidfd_send_signal', [pidfd, signal, 0, 0], String(signal));
}

const POLLIN = 1;

/** Whether the process has ended, also when nobody has waited for it yet. Answers at once. */
export function pidfdHasEnded(pidfd: number): boolean {
  const poll = stableBytes(8);
  poll.writeInt32LE(pidfd, 0);
  poll.writeInt16LE(POLLIN, 4);
  const noWait = stableBytes(16);
  return syscall('ppoll', [poll, 1, noWait, 0, 0]) > 0;
}
