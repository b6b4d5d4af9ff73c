import { readdirSync, readFileSync } from 'node:fs';

/** Between two looks, in milliseconds. */
const PAUSE_MS = 5;

/**
 * Stops a process by SIGSTOP, and waits until it stands still: until one of its threads has had a processor to see the signal, all go on, which takes
 * a while on a busy machine. SIGCONT lets it go on.
 * @throws when it does not run
 */
export async function stopProcess(pid: number | undefined): Promise<void> {
  // 0 and less would be groups of processes.
  if (pid === undefined || pid < 2) throw new Error(`Cannot stop process ${pid}: it must run`);
  process.kill(pid, 'SIGSTOP');
  while (!threadsOf(pid).every(standsStill)) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
}

const threadsOf = (pid: number): readonly string[] =>
  readdirSync(`/proc/${pid}/task`).map((id) => `/proc/${pid}/task/${id}`);

/** proc_pid_stat(5): the state follows the name, which may contain anything. A thread that has ended does nothing either. */
function standsStill(thread: string): boolean {
  try {
    const stat = readFileSync(`${thread}/stat`, 'utf8');
    return /[TtXZ]/.test(stat[stat.lastIndexOf(')') + 2] ?? '');
  } catch (err) {
    const { code = '' } = err as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return true;
    throw err;
  }
}
