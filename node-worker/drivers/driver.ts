import type { SlaveRef } from '../../contract/device-mount.ts';
import type { DeviceNode, GpuLimit, HostDevice } from '../kernel/engine.ts';
import type { Allocation } from '../kubelet/checkpoint.ts';

/** A device of a device plugin with the nodes that a container needs to use it; devices may share nodes. */
export interface AllocatedDevice {
  readonly id: string;
  readonly resource: string;
  /** Its id for the kubelet, where a scheduler has chosen another device than that. */
  readonly kubeletId?: string;
  /** A node that several devices share goes with the last of them. */
  readonly nodes: readonly DeviceNode[];
}

/** A device that a slave has by dynamic resource allocation. */
export interface ClaimedDevice {
  /** `driver/pool/device`, see `PreparedDevice`. */
  readonly id: string;
  /** The extended resource that it serves, or `claimResource` of its claim. */
  readonly resource: string;
  readonly cdiDevices: readonly string[];
}

/** What is known of one slave. */
export interface Finding {
  readonly slave: SlaveRef;
  /** Of the resources that were asked for, with all that the device plugin answered. */
  readonly allocations: readonly Allocation[];
  /** Absent: none. */
  readonly claimed?: readonly ClaimedDevice[];
  /** Values of what the driver reads, by key; a key that the pod lacks is absent. */
  readonly words?: Readonly<Record<string, string>>;
  /** What its running containers have; absent where the allocation alone tells the nodes. */
  readonly live?: readonly DeviceNode[];
}

/** The host as drivers see it. Paths are absolute and those of the host; no symlink leads out of its root. */
export interface Host {
  /** A device node. @throws NotFound, Invalid */
  device(path: string): HostDevice;
  /**
   * What the container runtime makes of a path of a device plugin: itself for a device node, its target for a symlink, all
   * device nodes below a directory. Each as the rest of its path below `path`, and where it is. @throws NotFound
   */
  paths(path: string): readonly { readonly rest: string; readonly hostPath: string }[];
  /** Where a file, folder or socket is, its symlinks followed; undefined when there is none. */
  resolve(path: string): string | undefined;
  /** The text of a file; undefined when there is none. @throws Invalid */
  read(path: string): string | undefined;
  /** Names in a directory; none when there is no such directory. */
  list(path: string): readonly string[];
  /** Where `proc` and `dev` of a vendor's driver may be, best first: `` is the root of the host. */
  readonly driverRoots: readonly string[];
}

/** A file, folder or socket of the host that a container needs besides device nodes. */
export interface NeededFile {
  /** Absolute, as the host sees it, without symlinks. */
  readonly hostPath: string;
  /** In the container. */
  readonly path: string;
  /** The container may write in it. The driver answers for it: a device plugin's word is not enough. */
  readonly writable?: true;
  /** Paths in the container; where it has one of these itself, it does not need the file. */
  readonly unless?: readonly string[];
}

/** A file that no host has, with what is in it. */
export interface NeededText {
  readonly text: string;
  /** In the container. */
  readonly path: string;
}

/** A file that no host has, in which the programs of a container keep their limits together. */
export interface NeededRegion {
  readonly region: true;
  /** In the container. */
  readonly path: string;
}

/** Where the limits of a container are that was started with some: a file in a folder of the host. */
export interface OwnRegion {
  readonly folder: string;
  readonly name: string;
}

/** What a container must have itself to make use of a device. */
export interface Needs {
  /** Absolute paths of files; one is enough. */
  readonly anyOf: readonly string[];
  /** What is told where it has none. */
  readonly otherwise: string;
}

/** Looks the devices of one type up; changes nothing. */
export interface DeviceDriver {
  /**
   * Keys of annotations and labels of a slave that tell what it was allocated, such as those that a scheduler writes. Whoever may
   * change pods in the namespace can write them, too: no device is given by them alone.
   */
  readonly reads?: readonly string[];
  /**
   * Whether these allocations tell the nodes, so that nothing has to wait until the slaves run. A driver without this always
   * waits, and gets what was claimed (dynamic resource allocation). @throws NotAllocated
   */
  knowsNodes?(allocations: readonly Allocation[], host: Host): boolean;
  /** What a slave has. @throws NotAllocated, NotFound, Invalid */
  devicesOf(finding: Finding, host: Host): readonly AllocatedDevice[];
  /** Which of the nodes that were given at allocation the slave must have once it runs; without this, all. */
  expected?(granted: readonly DeviceNode[], live: readonly DeviceNode[]): readonly DeviceNode[];
  /**
   * Files that a slave's devices need, asked for only where they are to be mounted. A driver without this has what the device plugin's
   * answer and CDI specs mount. @throws NotAllocated, NotFound, Invalid
   */
  filesOf?(finding: Finding, host: Host): readonly (NeededFile | NeededRegion | NeededText)[];
  /** Limits on devices, which mounts of one container share. Absent: nothing is limited. */
  readonly limits?: {
    /** Where in a container a region of ours is. */
    readonly path: string;
    /** What an allocation gives, by the ids of its devices. @throws NotAllocated */
    of(allocation: Allocation, host: Host): readonly GpuLimit[];
    /** Where those of a container are that was started with it. */
    regionOf(allocation: Allocation): OwnRegion | undefined;
  };
  readonly needs?: Needs;
}
