import { condition } from '@temporalio/workflow';
import type { SlaveRef } from '../contract/device-mount.ts';
import type { Target } from '../contract/requests.ts';
import { lookScheduled } from './activities.ts';
import { onSignal } from './signals.ts';

/** Of a slave: absent words say that it has a node. */
interface Said {
  readonly words?: string;
}

/**
 * Waits for free devices as long as the request allows. The watch of the slaves tells by signal what the scheduler says, so
 * that waiting keeps no step, and no worker, from anything.
 */
export class MountQueue {
  readonly #said = new Map<string, Said>();

  /**
   * @param needs whether a mount needs the slave of this UID
   * @param refused told why a signal was left out
   */
  constructor(needs: (slaveUid: string) => boolean, refused: (why: string) => void) {
    onSignal('slaveScheduling', refused, ({ uid, words }) => {
      const said = this.#said.get(uid);
      // Signals may overtake each other, and a slave keeps its node.
      const isScheduled = said !== undefined && said.words === undefined;
      if (needs(uid) && !isScheduled) this.#said.set(uid, words === undefined ? {} : { words });
    });
  }

  /**
   * Waits until a slave of the mount has a node; `tell` is told the scheduler's words until then. The mount must need it already.
   * @throws SlaveEnded, TargetGone
   */
  async scheduled(slave: SlaveRef, target: Target, tell: (words: string) => void): Promise<void> {
    // What happened before the mount needed the slave, no signal has told.
    const now = await lookScheduled.executeWithOptions({ summary: `has ${slave.name} a node` }, [{ slave, target }]);
    let said: Said | undefined = now.scheduled ? {} : (this.#said.get(slave.uid) ?? { words: now.message });
    while (said?.words !== undefined) {
      if (said.words !== '') tell(said.words);
      const known: Said = said;
      await condition(() => (this.#said.get(slave.uid) ?? known) !== known);
      said = this.#said.get(slave.uid);
    }
  }
}
