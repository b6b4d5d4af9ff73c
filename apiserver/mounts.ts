import type { DeviceMount, DeviceMountList } from '../contract/device-mount.ts';
import type { Fingerprint } from '../contract/fingerprint.ts';
import type { MountInput, UnmountInput } from '../contract/workflows.ts';

/** A mount to begin, or to go on with when the same was asked for before. */
export interface NewMount {
  readonly input: MountInput;
  readonly fingerprint: Fingerprint;
  /** What the mount is before anybody has looked at it. */
  readonly first: DeviceMount;
}

export type MountAnswer =
  | { readonly state: 'mounted'; readonly mount: DeviceMount }
  /** It goes on, to its own deadline. */
  | { readonly state: 'pending'; readonly mount: DeviceMount };

export type UnmountAnswer =
  | { readonly state: 'released'; readonly list: DeviceMountList }
  /** It goes on until it is done; the list is what is still mounted. */
  | { readonly state: 'releasing'; readonly list: DeviceMountList };

/** What the API needs of the mounts. Every call fails with `TemporalUnavailable` within seconds when nobody is there to answer. */
export interface Mounts {
  /** Rejects with `TemporalUnavailable` when a mount would fail so. */
  check(): Promise<void>;
  /**
   * Whether a mount could begin or go on, without beginning it.
   * @throws what `repeatOf` throws when the name is in use
   */
  plan(wanted: NewMount): Promise<void>;
  /**
   * Begins a mount, or finds the one that the same request has begun, and waits for it, at most `patienceMs`.
   * @throws what `repeatOf` throws when the name is in use, IdempotencyKeyReused when the key stands for another mount
   */
  mount(wanted: NewMount, patienceMs: number): Promise<MountAnswer>;
  unmount(input: UnmountInput, patienceMs: number): Promise<UnmountAnswer>;
  get(namespace: string, name: string): Promise<DeviceMount | undefined>;
  /** Mounts that are open or have ended in the last `rememberedMs`, by default 10 minutes, of one namespace or, without one, of all. */
  list(namespace: string | undefined, rememberedMs?: number): Promise<DeviceMountList>;
}
