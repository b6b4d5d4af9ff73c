import { stopProcess } from '../../stop-process.ts';
import { signal } from '../signal.ts';

/** Processes that are held with SIGSTOP, so that the step which is theirs does not happen. */
export class Held {
  readonly #pids = new Set<number>();

  /** @throws when one of them does not run */
  async hold(...pids: readonly (number | undefined)[]): Promise<void> {
    for (const pid of pids) {
      if (pid !== undefined) this.#pids.add(pid);
      await stopProcess(pid);
    }
  }

  /** Lets them go on; all without arguments. One that was killed meanwhile is fine. */
  release(...pids: readonly (number | undefined)[]): void {
    for (const pid of pids.length > 0 ? pids : this.#pids) {
      if (pid === undefined || !this.#pids.has(pid)) continue;
      this.#pids.delete(pid);
      signal(pid, 'SIGCONT');
    }
  }
}
