import { readFileSync } from 'node:fs';
import { processStat } from './process.ts';
import { hasCode } from './syscall.ts';

/**
 * Of the processes of a container its init: the one that started first; undefined when all have ended. Waits, as a helper process may,
 * for one that is in an execve(2) which its tenant makes endless.
 *
 * All others descend from it, or were put beside it later. Process 1 of a pid namespace need not be it: a container that shares
 * its pod's has none, but may hold nested ones. Nor need the least depth be it: a runtime that starts one more process comes
 * from the host's namespace. Among those of one clock tick (10 ms) its namespace is the outermost, and it is the first there.
 */
export function initOf(pids: readonly number[]): number | undefined {
  const found = pids.flatMap((pid) => {
    try {
      const { levels, own } = namespacePids(pid);
      return [{ pid, levels, own, startTime: BigInt(processStat(pid).startTime) }];
    } catch (err) {
      if (hasCode(err, 'ENOENT', 'ESRCH')) return [];
      throw err;
    }
  });
  found.sort((a, b) => Number(a.startTime - b.startTime) || a.levels - b.levels || a.own - b.own);
  return found[0]?.pid;
}

/** How deep the pid namespace of a process is nested, and its pid there. */
function namespacePids(pid: number): { readonly levels: number; readonly own: number } {
  const line = /^NSpid:\t(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? '';
  const ids = line.split('\t');
  return { levels: ids.length, own: Number(ids.at(-1)) };
}
