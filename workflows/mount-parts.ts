import { CancellationScope, log } from '@temporalio/workflow';
import { type SlaveRef, withoutDevice } from '../contract/device-mount.ts';
import type { MountEnds } from './mount-ends.ts';
import { onSignal } from './signals.ts';
import { deleteSlaves, madeSlaves } from './slaves.ts';
import type { StatusRecord } from './status-record.ts';

/** Devices that a mount gives back one by one, while it goes on with the rest. The last one ends it. */
export class MountParts {
  readonly #record: StatusRecord;
  readonly #working = new Set<Promise<void>>();

  /** @param refused told why a signal was left out */
  constructor(record: StatusRecord, ends: MountEnds, refused: (why: string) => void) {
    this.#record = record;
    onSignal('deviceReleased', refused, async ({ device, by }) => {
      const before = record.status;
      const left = withoutDevice(before, device);
      if (left.devices.length === before.devices.length) return;
      record.change({ ...left, message: `${by} has unmounted ${device}` });
      if (left.devices.length === 0) ends.add({ kind: 'released' });
      const freed = before.slaves.filter((slave) => !left.slaves.includes(slave));
      const work = this.#free(freed, device).finally(() => this.#working.delete(work));
      this.#working.add(work);
      await work;
    });
  }

  /** Waits until what was given back is free for others, or left to the reconciler. */
  async settled(): Promise<void> {
    await CancellationScope.nonCancellable(() => Promise.all(this.#working));
  }

  async #free(slaves: readonly SlaveRef[], device: string): Promise<void> {
    const { mount } = this.#record;
    const { container, podUid: targetUid } = mount.spec;
    try {
      await CancellationScope.nonCancellable(() =>
        deleteSlaves(madeSlaves(slaves, { mount: mount.metadata.name, targetUid })),
      );
    } catch (err) {
      log.warn('cannot free a device that was unmounted', { device, err });
    }
    const message = `Unmounted ${device} from container ${container}`;
    const { projection } = this.#record;
    projection.tell({ type: 'Normal', reason: 'UnMountDevice', message });
    await projection.told();
  }
}
