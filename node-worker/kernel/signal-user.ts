import { closeSync } from 'node:fs';
import { pidfdOpen, pidfdSignal } from './process.ts';
import { isOfContainer } from './process-of-container.ts';
import { hasCode } from './syscall.ts';

/** Signals through a pidfd that was proved to mean a process of the container; returns it while the process may live. */
export function signalUser(containerId: string, pid: number, signal: number): readonly number[] {
  let pidfd: number;
  try {
    pidfd = pidfdOpen(pid);
  } catch (err) {
    if (hasCode(err, 'ESRCH')) return [];
    throw err;
  }
  try {
    if (isOfContainer(pid, containerId)) {
      pidfdSignal(pidfd, signal);
      return [pidfd];
    }
  } catch (err) {
    if (!hasCode(err, 'ESRCH', 'ENOENT')) throw err;
  }
  closeSync(pidfd);
  return [];
}
