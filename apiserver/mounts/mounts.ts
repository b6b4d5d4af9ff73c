import type { DeviceMount, DeviceMountList } from '../../contract/device-mount.ts';
import type { Fingerprint } from '../../contract/fingerprint.ts';
import type { MountInput, UnmountInput } from '../../contract/workflows.ts';

/** A mount to begin, or to go on with when the same was asked for before. */
export interface NewMount {
  readonly input: MountInput;
  readonly fingerprint: Fingerprint;
  /** What the mount is before anybody has looked at it. */
  readonly first: DeviceMount;
}

export interface MountAnswer {
  /** `pending`: it goes on, to its own deadline. */
  readonly state: 'mounted' | 'pending';
  readonly mount: DeviceMount;
  /** Whether the mount has the identity of its object already. */
  readonly shown: boolean;
}

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
   * Begins a mount, or finds the one that the same request has begun, and waits for it, at most `patienceMs`, then at most `shownMs` for its object.
   * @throws what `repeatOf` throws when the name is in use, IdempotencyKeyReused when the key stands for another mount
   */
  mount(wanted: NewMount, patienceMs: number, shownMs: number): Promise<MountAnswer>;
  /** Begins an unmount, and answers what it has released; undefined when that takes longer than `patienceMs`: it goes on until it is done. */
  unmount(input: UnmountInput, patienceMs: number): Promise<DeviceMountList | undefined>;
}
