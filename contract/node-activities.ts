import type { MountedDevice, MountWarning, SlaveRef } from './device-mount.ts';
import type { MountRequest, Signed, UnmountRequest } from './requests.ts';

/** Names one mount to the node that holds it. */
export interface MountRef {
  readonly namespace: string;
  readonly name: string;
}

export interface AttachInput {
  readonly signed: Signed<MountRequest>;
  readonly slaves: readonly SlaveRef[];
}

export interface AttachResult {
  /** The container that got the devices; after a restart it has another id. */
  readonly containerId: string;
  readonly devices: readonly MountedDevice[];
  readonly warnings?: readonly MountWarning[];
}

export interface DetachInput {
  /** All of them, or none: busy devices of one leave every one attached. */
  readonly mounts: readonly MountRef[];
  /**
   * Slaves of the mounts. A mount of which none is here is not meant, but by a `signed` request about it that is not over yet:
   * another one may have its name by now. Without `device` a later attach for one of these is refused.
   */
  readonly slaves: readonly SlaveRef[];
  /** Only this device of the mounts; a mount goes on with what is left. */
  readonly device?: string;
  /** Detach also what is in use. Processes are ended first when `signed` asks for force or the mount itself is at its end. */
  readonly force: boolean;
  readonly signed?: Signed<UnmountRequest>;
}

export interface DetachResult {
  readonly mounts: readonly DetachedMount[];
}

export interface DetachedMount {
  readonly mount: MountRef;
  readonly devices: readonly MountedDevice[];
  /** Processes that were ended because they used the devices, for people. */
  readonly ended?: string;
  /**
   * Processes still use what was taken back, and nobody was authorised to end them. They are ended once a slave ends: it must
   * not free the devices before.
   */
  readonly inUse?: true;
}

export interface TakenBackInput {
  /** Each with all of its slaves. */
  readonly mounts: readonly (MountRef & { readonly slaves: readonly SlaveRef[] })[];
}

export interface TakenBackResult {
  readonly mounts: readonly MountRef[];
}

/**
 * What the worker on a node does when a workflow asks. Every step is idempotent. Failures are those of `FAILURES`.
 * One release of the node worker serves workflows of the release before and after: fields are only added.
 */
export interface NodeActivities {
  /**
   * Waits until the kubelet has allocated the slaves' devices, then lets the target's container use exactly those.
   * Heartbeats while it waits.
   * @throws NotAllocated, InvalidSignature, ContainerNotReady, ContainerUnsupported, SlaveEnded, TargetGone, Timeout,
   *   MountEnded when the request was used by a mount that has ended
   */
  attachDevices(input: AttachInput): Promise<AttachResult>;
  /**
   * Takes back what the node's own checkpoint says was attached for the mounts. A mount it does not know is detached already.
   * @throws DeviceBusy with a cause for each process, if nobody may end them or the kernel does not; Internal, to be tried
   * again, while processes of an ended slave's mount were killed and have not ended
   */
  detachDevices(input: DetachInput): Promise<DetachResult>;
  /**
   * Which of some mounts have lost their devices by a detach. A node that has lost its checkpoint answers none: their containers
   * may still use the devices.
   */
  takenBack(input: TakenBackInput): Promise<TakenBackResult>;
}
