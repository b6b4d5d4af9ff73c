import { identityOf, type ProcessIdentity } from '../../deploy/local/identity.ts';

/** Processes that stand still by SIGSTOP. One that has ended since is left alone, whoever has its pid now. */
export class Frozen {
  readonly #processes = new Set<ProcessIdentity>();

  freeze(identity: ProcessIdentity): void {
    process.kill(identity.pid, 'SIGSTOP');
    this.#processes.add(identity);
  }

  release(identity: ProcessIdentity): void {
    this.#processes.delete(identity);
    if (identityOf(identity.pid)?.startTicks === identity.startTicks) process.kill(identity.pid, 'SIGCONT');
  }

  releaseAll(): void {
    for (const identity of this.#processes) this.release(identity);
  }
}
