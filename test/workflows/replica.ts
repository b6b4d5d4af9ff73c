import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { NewMount } from '../../apiserver/mounts/mounts.ts';
import { stopProcess } from '../stop-process.ts';
import type { Harness } from './harness.ts';

/** A process that asks Temporal for a mount as a replica of the apiserver does, and can be held up. */
export class Replica {
  readonly answer: Promise<unknown>;
  readonly #process;

  constructor({ server, identity }: Harness, wanted: NewMount) {
    const script = join(import.meta.dirname, 'replica-process.ts');
    this.#process = fork(script, [server.address, JSON.stringify(identity), JSON.stringify(wanted)], {
      execArgv: ['--no-warnings'],
    });
    this.answer = once(this.#process, 'message').then(([answer]) => answer as unknown);
  }

  async hold(): Promise<void> {
    await stopProcess(this.#process.pid);
  }

  release(): void {
    this.#process.kill('SIGCONT');
  }
}
