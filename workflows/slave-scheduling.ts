import { condition } from '@temporalio/workflow';
import type { SlaveRef } from '../contract/device-mount.ts';
import { fail } from '../contract/failures.ts';
import { onSignal } from './signals.ts';

/** Of a slave: absent words say that it has a node. */
interface Said {
  readonly words?: string;
}

/** A mount has fewer slaves; others may send anything. */
const MAX_SAID = 1_000;

/**
 * What the scheduler says about slaves. The watch of the slaves tells it by signal, so that waiting keeps no step, and no worker, from
 * anything; that a slave has a node only to a mount that queues.
 */
export class SlaveScheduling {
  /** By the UID of the slave, which the mount may not know yet. */
  readonly #said = new Map<string, Said>();

  /** @param refused told why a signal was left out */
  constructor(refused: (why: string) => void) {
    onSignal('slaveScheduling', refused, ({ uid, words }) => {
      const said = this.#said.get(uid);
      // Signals may overtake each other, and a slave keeps its node.
      const isScheduled = said !== undefined && said.words === undefined;
      if (isScheduled || (said === undefined && this.#said.size >= MAX_SAID)) return;
      this.#said.set(uid, words === undefined ? {} : { words });
    });
  }

  /** Waits until the slave has a node; `tell` is told the scheduler's words until then. */
  async scheduled({ uid }: SlaveRef, tell: (words: string) => void): Promise<void> {
    let known: Said | undefined;
    for (;;) {
      await condition(() => this.#said.get(uid) !== known);
      known = this.#said.get(uid);
      if (known?.words === undefined) return;
      tell(known.words);
    }
  }

  /** Waits until there is no node for one of the slaves. Answers InsufficientDevices, with the scheduler's words. */
  async refusal(slaves: readonly SlaveRef[]): Promise<Error> {
    let refusal = '';
    await condition(() => {
      const slave = slaves.find(({ uid }) => this.#said.get(uid)?.words !== undefined);
      if (slave !== undefined)
        refusal = `Cannot schedule slave pod "${slave.name}": ${this.#said.get(slave.uid)?.words}`;
      return slave !== undefined;
    });
    return fail('InsufficientDevices', refusal);
  }
}
