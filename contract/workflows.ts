import type { DeviceMount, DeviceMountList } from './device-mount.ts';
import type { MountRequest, Signed, UnmountRequest } from './requests.ts';

/** Names by which clients start and reach workflows; the functions are exported by `workflows/index.ts`. */
export const WORKFLOWS = {
  mount: 'mountDevices',
  unmount: 'unmountDevices',
  reconcile: 'reconcileMounts',
  claimKey: 'claimKey',
  claimCluster: 'claimCluster',
} as const;

export type MountInput = Signed<MountRequest>;
export type UnmountInput = Signed<UnmountRequest>;

/** Updates: a call that answers when the state is reached, or fails with one of `FAILURES`. */
export const UPDATES = {
  /** On a mount: answers the DeviceMount once mounted; fails once the mount has failed and is undone. */
  mounted: 'mounted',
  /**
   * On a mount: answers the DeviceMount as soon as its object is in kube-apiserver, or cannot be; fails like `mounted` when the mount has
   * failed before.
   */
  shown: 'shown',
  /**
   * On an unmount: answers the DeviceMountList of what the container has lost. Its argument is for how many milliseconds the caller waits:
   * a failure within that time makes no Event.
   */
  released: 'released',
} as const;
export type MountedResult = DeviceMount;
export type ShownResult = DeviceMount;
export type ReleasedResult = DeviceMountList;

/** Queries. `deviceMount` answers the DeviceMount as it is now. */
export const QUERIES = { deviceMount: 'deviceMount' } as const;

/** Key of the memo that holds the DeviceMount, also after the workflow has closed. */
export const MOUNT_MEMO = 'deviceMount';

export interface ReconcileInput {
  /** Only report what would be done. */
  readonly dryRun?: boolean;
  /** Of a run that goes on with what another has begun. */
  readonly after?: string;
  readonly report?: ReconcileReport;
  /** Mounts whose objects are to be confirmed at the end. */
  readonly unconfirmed?: readonly { readonly namespace: string; readonly name: string }[];
  /** Of the pass before. */
  readonly attempts?: readonly Attempt[];
}

/** A mount that the reconciler has tried to have shown in vain. */
export interface Attempt {
  readonly namespace: string;
  readonly mount: string;
  /** How many passes in a row have found it, tried or not. */
  readonly passes: number;
  /** Milliseconds since 1970. */
  readonly triedAtMs: number;
}

/** Something that is not as its owner would have it. */
export interface ReconcileFinding {
  readonly namespace: string;
  /** Name of the mount; of a foreign slave, its own. */
  readonly mount: string;
  /**
   * `adopt`: an owner is started for it. `free`: its devices are taken back and its slaves deleted. `delete`: a slave is deleted
   * that no mount has any more. `tell`: its owner is told of an end that it has missed. `project`: its object in kube-apiserver is made to
   * show it. `remove`: the object of a mount that has ended is deleted. `keep`: it is left alone.
   */
  readonly action: 'adopt' | 'free' | 'delete' | 'tell' | 'project' | 'remove' | 'keep';
  readonly why: string;
  readonly slaves: readonly string[];
}

export interface ReconcileReport {
  readonly dryRun: boolean;
  readonly findings: readonly (ReconcileFinding & {
    /** Carried out, and of `project` seen to show. False in a dry run, and for what is tried again. */
    readonly done: boolean;
    /** Why it is not done, and what that waits for. */
    readonly problem?: string;
  })[];
  /** Of how many more findings nothing is told here. */
  readonly more?: number;
  /** What the next pass has to know. */
  readonly attempts?: readonly Attempt[];
}

/** Why a mount ends or changes, told to its workflow by signal. */
export const SIGNALS = {
  /** Give the devices back; the node has not been asked yet. */
  release: 'release',
  /** The node has detached the devices already. */
  released: 'released',
  /** The node has detached one device of several. */
  deviceReleased: 'deviceReleased',
  /** The target pod was deleted, has finished or was evicted. */
  targetGone: 'targetGone',
  /** A slave pod is ending, whoever ended it. Arguments, if any: the slave's UID, and what became of it. */
  slaveEnding: 'slaveEnding',
  /** The scheduler has spoken of a slave that waits for a device. Arguments: its UID, and the words if there is no node for it. */
  slaveScheduling: 'slaveScheduling',
  /** The container runs anew under another id; the node has done what the request says in `onRestart`. */
  containerRestarted: 'containerRestarted',
  /** Something had taken rules or nodes away; they are back. */
  driftHealed: 'driftHealed',
  /** The node cannot give the container what it has lost, and goes on trying. */
  degraded: 'degraded',
  /** Set the lease to this many seconds from now. */
  renew: 'renew',
  /** Write the object of the mount in kube-apiserver again: somebody has changed or deleted it. */
  project: 'project',
} as const;

export interface ContainerRestartedSignal {
  readonly containerId: string;
  /** False: the devices are detached, and the mount is to end. */
  readonly reapplied: boolean;
}

export interface DriftHealedSignal {
  /** RFC 3339. */
  readonly at: string;
  /** What was missing, in words for the operator. */
  readonly what: string;
}

export interface DegradedSignal {
  /** RFC 3339. */
  readonly at: string;
  readonly why: string;
}

export interface ReleaseSignal {
  /** Who asked, for the record. */
  readonly by: string;
  readonly reason: string;
}

export interface ReleasedSignal {
  /** Who asked, for the record. */
  readonly by: string;
}

export interface DeviceReleasedSignal {
  /** By the id of its device plugin. */
  readonly device: string;
  /** Who asked, for the record. */
  readonly by: string;
}

export interface RenewSignal {
  readonly leaseSeconds: number;
}
