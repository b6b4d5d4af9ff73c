import { CancellationScope, condition, log } from '@temporalio/workflow';
import type { Projection as ProjectedMount, ShownObject } from '../activities/first-objects.ts';
import type { MountEvent } from '../activities/publish.ts';
import type { DeviceMount } from '../contract/device-mount.ts';
import type { MountInput } from '../contract/workflows.ts';
import { firstObject, projectMount, publish } from './activities.ts';

interface Shown {
  readonly signed: MountInput;
  readonly mount: DeviceMount;
}

interface Source extends Shown {
  /** Has the mount take a version after this one. */
  goAbove(version: string): void;
}

/**
 * Shows a mount as an object of kube-apiserver, and tells its target what happens to it: one step at a time, always of the latest state. That it
 * fails changes nothing about the mount.
 */
export class Projection {
  readonly #of: Source;
  #object: ShownObject | undefined;
  /** What an object that is being made will show. */
  #first: DeviceMount | undefined;
  #isStale = false;
  #isBusy = false;
  readonly #events: MountEvent[] = [];
  #isTelling = false;

  constructor(of: Source) {
    this.#of = of;
  }

  /** The object as it was last written, once there is one. */
  get object(): ShownObject | undefined {
    return this.#object;
  }

  /** To be told that another step has begun to make the object, as what it will show. */
  begun(first: DeviceMount): void {
    this.#first = first;
  }

  get isBusy(): boolean {
    return this.#isBusy;
  }

  /**
   * To be told of every change, with what the target is told of it. What only lasts for a moment is not shown: that a mount has no slave yet, or
   * was refused one.
   */
  changed(event?: MountEvent): void {
    if (event !== undefined) this.#events.push(event);
    const { phase, slaves } = this.#of.mount.status;
    const isMade = slaves.length > 0 || (phase !== 'Pending' && phase !== 'Failed');
    const hasOrGetsObject = this.#object !== undefined || this.#first !== undefined;
    if (isMade || hasOrGetsObject || this.#isBusy) this.#isStale = true;
    this.#start();
  }

  /** Tells the target of something that is no change of the mount. */
  tell(event: MountEvent): void {
    this.#events.push(event);
    this.#start();
  }

  /** Shows the mount as it is, or, while a step is under way, as it will be then. */
  show(): void {
    this.#isStale = true;
    this.#start();
  }

  #start(): void {
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

  /** Waits until the target has been told of everything, or cannot be. */
  told(): Promise<void> {
    return CancellationScope.nonCancellable(() => condition(() => this.#events.length === 0 && !this.#isTelling));
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
    while (this.#isStale || this.#events.length > 0) {
      const events = this.#events.splice(0);
      this.#isTelling = events.length > 0;
      try {
        const first = this.#first;
        this.#first = undefined;
        if (first !== undefined && this.#of.mount.status.phase === 'Mounted') await this.#awaitFirst(first);
        if (this.#isStale) await this.#showWith(events);
        else await this.#tell(events);
      } catch (err) {
        log.warn('cannot show the mount now', { err });
      }
    }
    this.#isBusy = this.#isTelling = false;
  }

  /**
   * No round through Temporal: whoever waits for the mount waits for this. Not before it is mounted: an attach that is cancelled at the same
   * moment and this local activity would be repeated in another order (https://github.com/temporalio/sdk-rust/issues/803).
   */
  async #awaitFirst(mount: DeviceMount): Promise<void> {
    try {
      this.#take(await firstObject({ signed: this.#of.signed, mount }));
    } catch (err) {
      log.warn('cannot tell yet whether the mount has its object', { err });
    }
  }

  async #showWith(events: readonly MountEvent[]): Promise<void> {
    this.#isStale = false;
    const { signed, mount } = this.#of;
    const input = { signed, mount, ...(events.length > 0 && { events }) };
    const answer = await projectMount.executeWithOptions({ summary: `show ${mount.status.phase}` }, [input]);
    this.#take(answer);
  }

  #take(answer: ProjectedMount): void {
    if ('final' in answer) this.#cannot(answer.final);
    else this.#has(answer);
  }

  async #tell(events: readonly MountEvent[]): Promise<void> {
    const { signed, mount } = this.#of;
    const { uid } = this.#object ?? {};
    const input = { signed, mount, events, ...(uid !== undefined && { object: { uid } }) };
    await publish.executeWithOptions({ summary: `tell pod ${mount.spec.podName}` }, [input]);
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
