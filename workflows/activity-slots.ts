import type {
  ActivitySlotInfo,
  CustomSlotSupplier,
  SlotMarkUsedContext,
  SlotPermit,
  SlotReleaseContext,
  SlotReserveContext,
} from '@temporalio/worker';

class Permit implements SlotPermit {
  /** Whether it counts as one of those that work. */
  isHeld = true;
}

/**
 * Slots for activities of which few work at a time. They share the one thread of this process: with more, each would take longer, at last longer than
 * its time-out, and be done again. Others are left in the queue of Temporal, where that time-out does not run yet. An activity that only waits
 * for something takes no slot.
 */
export class ActivitySlots implements CustomSlotSupplier<ActivitySlotInfo> {
  readonly type = 'custom';
  #free: number;
  readonly #waiting: ((permit: Permit) => void)[] = [];
  readonly #waits: ReadonlySet<string>;

  /** @param waits names of the activities that only wait */
  constructor(working: number, waits: readonly string[]) {
    this.#free = working;
    this.#waits = new Set(waits);
  }

  /** @throws the reason of `signal` */
  reserveSlot(_context: SlotReserveContext, signal: AbortSignal): Promise<SlotPermit> {
    const permit = this.tryReserveSlot();
    if (permit !== null) return Promise.resolve(permit);
    return new Promise((resolve, reject) => {
      const give = (given: Permit): void => {
        signal.removeEventListener('abort', giveUp);
        resolve(given);
      };
      const giveUp = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(give), 1);
        reject(signal.reason);
      };
      this.#waiting.push(give);
      signal.addEventListener('abort', giveUp, { once: true });
    });
  }

  tryReserveSlot(): SlotPermit | null {
    if (this.#free === 0) return null;
    this.#free -= 1;
    return new Permit();
  }

  markSlotUsed({ slotInfo, permit }: SlotMarkUsedContext<ActivitySlotInfo>): void {
    if (this.#waits.has(slotInfo.activityType)) this.#giveBack(permit);
  }

  releaseSlot({ permit }: SlotReleaseContext<ActivitySlotInfo>): void {
    this.#giveBack(permit);
  }

  #giveBack(permit: SlotPermit): void {
    if (!(permit instanceof Permit) || !permit.isHeld) return;
    permit.isHeld = false;
    const next = this.#waiting.shift();
    if (next === undefined) this.#free += 1;
    else next(new Permit());
  }
}
