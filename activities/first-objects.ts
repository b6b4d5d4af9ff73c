import type { DeviceMount } from '../contract/device-mount.ts';

/** The object that shows a mount, as it is since. */
export interface ShownObject {
  readonly uid: string;
  readonly resourceVersion: string;
  /** The version of a later state of the mount, which it goes on showing. */
  readonly later?: string;
}

/** `final`: why there is no such object and trying again would not help. */
export type Projection = ShownObject | { readonly final: string };

/** Longer than a mount waits for its devices, as a rule. Whoever comes later looks at the cluster itself. */
const KEEP_MS = 60_000;

/**
 * The first objects of mounts, made beside what scheduler, kubelet and node do for these mounts. Only this process knows of them: another one that
 * goes on with a mount finds the object, or makes it.
 */
export class FirstObjects {
  readonly #all = new Map<string, { readonly version: string; readonly shown: Promise<Projection | undefined> }>();

  /** Nobody hears of a failure: `of` answers undefined then. */
  begin({ metadata: { uid, resourceVersion: version } }: DeviceMount, show: () => Promise<Projection>): void {
    this.#all.set(uid, { version, shown: show().catch(() => undefined) });
    setTimeout(() => this.#all.delete(uid), KEEP_MS).unref();
  }

  /** Waits until nothing is being made for the mount. Answers what came of it, once, if it shows this very state. */
  async of({ metadata: { uid, resourceVersion } }: DeviceMount): Promise<Projection | undefined> {
    const first = this.#all.get(uid);
    this.#all.delete(uid);
    const shown = await first?.shown;
    return first?.version === resourceVersion ? shown : undefined;
  }
}
