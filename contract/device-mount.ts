import type { ClaimReference } from './claims.ts';
import type { DeviceTypeName } from './device-types.ts';
import type { GROUP_VERSION } from './names.ts';

/** Where a mount stands. `Released` and `Failed` are ends. */
export type Phase = 'Pending' | 'Mounted' | 'Releasing' | 'Released' | 'Failed';

/** A device that the target can use. */
export interface MountedDevice {
  /** The device plugin's id, for example `GPU-5f3c…` or `/dev/fuse`; of a claimed device `driver/pool/device`. */
  readonly id: string;
  /** An extended resource, or `claimResource` of a claim. */
  readonly resource: string;
  /** Name of the slave pod that holds it. */
  readonly slave?: string;
  /** Device nodes in the container that belong to it. */
  readonly nodes: readonly DeviceNodeStatus[];
}

export interface DeviceNodeStatus {
  /** In the container. */
  readonly path: string;
  /** This and what follows is absent where only the path is known: of a mount that was adopted. */
  readonly type?: 'c' | 'b';
  readonly major?: number;
  readonly minor?: number;
  /** Any of `r`, `w`, `m`. */
  readonly access?: string;
}

/** Something to know of a mount that was made all the same. */
export interface MountWarning {
  /** Type of the condition that shows it. */
  readonly type: 'DriverFilesMissing';
  /** What is wrong and what to do, in a sentence or two. */
  readonly message: string;
}

/** A placeholder pod that holds devices for a target. */
export interface SlaveRef {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** What is left of a mount without its device `id`: devices, and the slaves that still hold some. */
export function withoutDevice(
  { devices, slaves }: Pick<DeviceMount['status'], 'devices' | 'slaves'>,
  id: string,
): Pick<DeviceMount['status'], 'devices' | 'slaves'> {
  const left = devices.filter((device) => device.id !== id);
  const holdsNone = (slave: string): boolean =>
    devices.some((device) => device.slave === slave) && !left.some((device) => device.slave === slave);
  return { devices: left, slaves: slaves.filter(({ name }) => !holdsNone(name)) };
}

/** What clients see of a mount. */
export interface DeviceMount {
  readonly apiVersion: typeof GROUP_VERSION;
  readonly kind: 'DeviceMount';
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    /** The first run id of the owning workflow. */
    readonly uid: string;
    readonly creationTimestamp: string;
    /** Milliseconds since 1970 of the last change, one more where two fall together. */
    readonly resourceVersion: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly spec: {
    readonly podName: string;
    readonly podUid: string;
    readonly container: string;
    readonly deviceType: DeviceTypeName;
    readonly resources: Readonly<Record<string, string>>;
    readonly claims?: readonly ClaimReference[];
    /** A slave pod for each device. */
    readonly split?: true;
    readonly onRestart: 'reapply' | 'release';
    /** As in `MountRequest`. */
    readonly inject?: 'none' | 'files';
    readonly leaseSeconds?: number;
  };
  readonly status: {
    readonly phase: Phase;
    readonly user: string;
    readonly node?: string;
    readonly devices: readonly MountedDevice[];
    readonly slaves: readonly SlaveRef[];
    /** Key of `FAILURES`, or the reason of the release. */
    readonly reason?: string;
    readonly message?: string;
    /** RFC 3339. */
    readonly mountedAt?: string;
    /** RFC 3339. */
    readonly leaseEndsAt?: string;
    /** The container lacks some of the devices, and the node goes on trying to give them back. `since` is RFC 3339. */
    readonly degraded?: { readonly since: string; readonly message: string };
    /** At most one of each type. */
    readonly warnings?: readonly MountWarning[];
  };
}

export interface DeviceMountList {
  readonly apiVersion: typeof GROUP_VERSION;
  readonly kind: 'DeviceMountList';
  readonly metadata: { readonly resourceVersion: string };
  readonly items: readonly DeviceMount[];
}
