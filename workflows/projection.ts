import { CancellationScope, condition, log, patched } from '@temporalio/workflow';
import type { ShownObject } from '../activities/project-mount.ts';
import type { DeviceMount, Phase } from '../contract/device-mount.ts';
import type { MountInput } from '../contract/workflows.ts';
import { projectMount, projectMountAtOnce } from './activities.ts';

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
  #phase: Phase | undefined;
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

  /** To be told of every change. One that only lasts until the mount is made, in a moment, is not shown. */
  changed(): void {
    const { signed, mount } = this.#of;
    if (mount.status.phase === 'Pending' && !signed.request.queue) return;
    this.show();
  }

  /** Shows the mount as it is, or, while a step is under way, as it will be then. */
  show(): void {
    // Mounts of earlier releases are shown from their next change on.
    if (!patched('projected')) return;
    this.#isStale = true;
    if (!this.#isBusy) void CancellationScope.nonCancellable(() => this.#run());
  }

  /** Waits until the latest state is shown, or cannot be, or the time is over. */
  async settled(patienceMs: number): Promise<void> {
    if (!this.#isBusy) return;
    await CancellationScope.nonCancellable(() => condition(() => !this.#isBusy, patienceMs));
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
        const answer = await this.#step({ signed, mount });
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

  /** The caller of `mounted` waits for the step that shows it. */
  async #step(input: Shown): ReturnType<typeof projectMount> {
    const { phase } = input.mount.status;
    const isAwaited = phase === 'Mounted' && this.#phase === 'Pending';
    this.#phase = phase;
    if (isAwaited) {
      try {
        return await projectMountAtOnce(input);
      } catch (err) {
        log.info('cannot show the mount at once', { err });
      }
    }
    return projectMount.executeWithOptions({ summary: `show ${phase}` }, [input]);
  }
}
