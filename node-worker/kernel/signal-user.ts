import { closeSync } from 'node:fs';
import type { DeviceUser } from './engine.ts';
import { pidfdOpen, pidfdSignal, processStat } from './process.ts';
import { hasCode } from './syscall.ts';

/** Signals through a pidfd that was proved to mean the process that was seen; returns it while the process may live. */
export function signalUser(user: Pick<DeviceUser, 'pid' | 'startTime'>, signal: number): readonly number[] {
  let pidfd: number;
  try {
    pidfd = pidfdOpen(user.pid);
  } catch (err) {
    if (hasCode(err, 'ESRCH')) return [];
    throw err;
  }
  try {
    if (processStat(user.pid).startTime === user.startTime) {
      pidfdSignal(pidfd, signal);
      return [pidfd];
    }
  } catch (err) {
    if (!hasCode(err, 'ESRCH', 'ENOENT')) throw err;
  }
  closeSync(pidfd);
  return [];
}
