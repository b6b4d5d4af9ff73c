import { CancellationScope, condition, log } from '@temporalio/workflow';
import type { ShownObject } from '../activities/project-mount.ts';
import type { DeviceMount } from '../contract/device-mount.ts';
import type { MountInput } from '../contract/workflows.ts';
import { projectMount } from './activities.ts';

interface Shown {
  readonly signed: MountInput;
  readonly mount: DeviceMount;
}

interface Source extends Shown {
  /** Has the mount take a version after this one. */
  goAbove(version: string): void;
}

/** Shows a mount as an object of kube-apiserver: one step at a time, always of the latest state. That it fails changes nothing about the mount. */
export class Projection {
  readonly #of: Source;
  #object: ShownObject | undefined;
  #isStale = false;
  #isBusy = false;

  constructor(of: Source) {
    this.#of = of;
  }

  /** The object as it was last written, once there is one. */
  get object(): ShownObject | undefined {
    return this.#object;
  }

  get isBusy(): boolean {
    return this.#isBusy;
  }

  /** To be told of every change. What only lasts for a moment is not shown: that a mount has no slave yet, or was refused one. */
  changed(): void {
    const { phase, slaves } = this.#of.mount.status;
    const isMade = slaves.length > 0 || (phase !== 'Pending' && phase !== 'Failed');
    if (isMade || this.#object !== undefined || this.#isBusy) this.show();
  }

  /** Shows the mount as it is, or, while a step is under way, as it will be then. */
  show(): void {
    this.#isStale = true;
    if (!this.#isBusy) void CancellationScope.nonCancellable(() => this.#run());
  }

  /** Waits until the object is there, or cannot be, or the time is over. */
  there(patienceMs: number): Promise<void> {
    return this.#until(() => this.#object !== undefined || !this.#isBusy, patienceMs);
  }

  /** Waits until the latest state is shown, or cannot be, or the time is over. */
  settled(patienceMs: number): Promise<void> {
    return this.#until(() => !this.#isBusy, patienceMs);
  }

  async #until(holds: () => boolean, patienceMs: number): Promise<void> {
    if (!holds()) await CancellationScope.nonCancellable(() => condition(holds, patienceMs));
  }

  /** `mount` as callers get it: with the identity of its object. Without one it has no version that a client's watch could begin at. */
  withObject(mount: DeviceMount): DeviceMount {
    return { ...mount, metadata: { ...mount.metadata, resourceVersion: '', ...this.#object } };
  }

  async #run(): Promise<void> {
    this.#isBusy = true;
    while (this.#isStale) {
      this.#isStale = false;
      const { signed, mount } = this.#of;
      try {
        const summary = `show ${mount.status.phase}`;
        const answer = await projectMount.executeWithOptions({ summary }, [{ signed, mount }]);
        if ('final' in answer) this.#cannot(answer.final);
        else this.#has(answer);
      } catch (err) {
        log.warn('cannot show the mount now', { err });
      }
    }
    this.#isBusy = false;
  }

  #cannot(why: string): void {
    // There may be none any more.
    this.#object = undefined;
    log.warn('cannot show the mount', { why });
  }

  #has({ uid, resourceVersion, later }: ShownObject): void {
    this.#object = { uid, resourceVersion };
    if (later === undefined) return;
    // Temporal has forgotten a state, as after a restore from a backup. What it knows now counts.
    this.#of.goAbove(later);
    this.#isStale = true;
  }
}
