import type { DeviceRule } from '../cgroup/rule.ts';
import type { RuntimeRule } from '../cgroup/runtime-rule.ts';

/**
 * What the node worker can do to a container. Order of a mount: `openContainer`, `plan`, write the plan to disk, `grant`.
 * Order of an unmount: `openContainer`, `usersOf`, `revoke`, `usersOf` again, `killUsers` or `grant` back.
 * The engine keeps no state of its own: the plan and the kernel's objects are the state. Make one with `createEngine()`
 * of create-engine.ts. Every method throws a failure of contract/failures.ts. Whatever is asked of a container's files and
 * processes is asked by helper processes: a method that answers with a promise may take seconds, and may throw
 * `ContainerStuck`, but keeps nothing else waiting.
 */
export interface KernelEngine {
  /** Finds a running container by its id and proves it is the one meant. Close the handle when done. */
  openContainer(container: ContainerQuery): Promise<ContainerHandle>;
  /**
   * Says what `grant` will do for `owner`, and what is there now, without changing anything. `others` are the live grants
   * of other owners on the same container: what they made is counted as ours, not as found.
   */
  plan(
    container: ContainerHandle,
    owner: string,
    devices: readonly DeviceNode[],
    others: readonly Grant[],
  ): Promise<Grant>;
  /**
   * Says which mount points and links the files need and what is there now, without changing anything. What it answers belongs into
   * `Grant.files`. Throws ContainerUnsupported where one of them could not be mounted.
   */
  planFiles(container: ContainerHandle, files: readonly HostFile[], others: readonly Grant[]): Promise<FilesPlan>;
  /**
   * Rules first, then nodes, then limits, then files, all or nothing. Idempotent: also heals rules that somebody took back and nodes that are gone.
   * Where only files or limits are missing and cannot be given, the devices stay.
   */
  grant(container: ContainerHandle, grant: Grant, others: readonly Grant[]): Promise<GrantReport>;
  /**
   * Exact undo of `grant` as far as `others` do not need it: rules first, then nodes, then files. Undo of nothing succeeds. It may be
   * called before `grant` was, in the middle of it, and again. The rules are gone before anything of the container's is
   * waited for, and where its files do not answer its nodes stay: without a rule they are no use. Files that a
   * process has mapped stay with it, and are gone for all others.
   */
  revoke(container: ContainerHandle, grant: Grant, others: readonly Grant[]): Promise<RevokeReport>;
  /** True when the kernel no longer gives what `grants` say; `others` are the other live grants of this container. */
  drifted(container: ContainerHandle, grants: readonly Grant[], others?: readonly Grant[]): Promise<boolean>;
  /** Processes of the container (its cgroup and all below) that hold one of `devices` open or mapped. */
  usersOf(container: ContainerHandle, devices: readonly DeviceId[]): Promise<readonly DeviceUser[]>;
  /**
   * Ends the users of `devices`, the container's init too: TERM, up to `graceMs`, KILL, and again until none is left or
   * `limitMs` have passed; through pidfds. Where the container cannot be looked into, all of it. Returns every process that was signalled; `usersOf` tells which are left.
   */
  killUsers(
    container: ContainerHandle,
    devices: readonly DeviceId[],
    options: KillOptions,
  ): Promise<readonly DeviceUser[]>;
  /** Device nodes in the container's /dev that it may open, with the access its device policy gives. Default nodes left out. */
  devicesOf(container: ContainerHandle): Promise<readonly DeviceNode[]>;
  /** Whether the container has a file or a symlink at one of `paths`, absolute ones; symlinks on the way are not followed. */
  hasAnyFile(container: ContainerHandle, paths: readonly string[]): Promise<boolean>;
  /**
   * Every rule and program that decides over the container's devices, and two answers for each node of its /dev, each
   * device of `grants` and each of `more`: what the engine reads out of the rules, and what the kernel itself says to a
   * process of ours under the same rules. Changes nothing of the container. Takes a tenth of a second, or as long as the
   * container likes: this process itself looks into it.
   */
  inspect(container: ContainerHandle, grants?: readonly Grant[], more?: readonly DeviceId[]): Inspection;
  /** What the container may do with the device now, as the kernel would answer: any of r, w, m. */
  accessTo(container: ContainerHandle, device: DeviceId): string;
  /** A device node of the host, by its absolute path; the last component may not be a symlink. */
  hostDevice(path: string): HostDevice;
}

export type DeviceId = Pick<DeviceRule, 'type' | 'major' | 'minor'>;

/** One device node to give to a container. */
export interface DeviceNode extends DeviceRule {
  /** Inside the container; absolute, normalised and below /dev. */
  readonly path: string;
  /** Permission bits, for example 0o660. */
  readonly mode: number;
  /** As seen inside the container. */
  readonly uid: number;
  readonly gid: number;
}

export type HostDevice = DeviceId & Pick<DeviceNode, 'mode' | 'uid' | 'gid'>;

export interface ContainerQuery {
  /** Without the `containerd://` prefix. */
  readonly containerId: string;
  /** The init process as the runtime tells it; must agree with the cgroup found by the id. Looked up when not given. */
  readonly pid?: number;
  /** Its init process as a handle once told it. One that has ended is looked up like one that was not given. */
  readonly init?: Pick<ContainerHandle, 'pid'> | undefined;
  /** Device rules of its OCI spec as the runtime tells them, for kernels that hide device programs. Not trusted. */
  readonly spec?: readonly RuntimeRule[] | undefined;
  /** Change nothing of it: a freeze that a killed process of ours has left stays. */
  readonly lookOnly?: boolean;
}

/** A running container, proved to be the one meant: its pidfd is held; container id checked in the cgroup path. */
export interface ContainerHandle {
  readonly containerId: string;
  /** Init of the container, in the host's pid namespace. */
  readonly pid: number;
  readonly cgroup: {
    readonly version: 1 | 2;
    /** The container's own cgroup on the host, the topmost directory named after the container; absolute. */
    readonly path: string;
    /** Where init is: `path` or below (crun, systemd as init); absolute. */
    readonly initPath: string;
  };
  /** False once init has ended. */
  isAlive(): boolean;
  close(): void;
}

/** What one owner was given, and what was there before. Plain JSON: the checkpoint of a mount holds it. */
export interface Grant {
  readonly owner: string;
  readonly containerId: string;
  readonly devices: readonly GrantedDevice[];
  /** cgroup v2: `ContainerQuery.spec` when it was planned, so that it can be taken back by who no longer knows. */
  readonly spec?: readonly RuntimeRule[];
  /** Of the host, shown in the container; absent where there are none. */
  readonly files?: readonly GrantedFile[];
  /** Of a vGPU; absent where nothing limits it. */
  readonly limits?: GrantedLimits;
}

/** A file, folder or socket of the host that a container is to see, read-only unless it says otherwise. */
export interface HostFile {
  /** Absolute and without symlinks, as this process sees it. */
  readonly hostPath: string;
  /** In the container. A shared library in a folder where hosts have them goes to where the container's loader looks. */
  readonly path: string;
  /** The container may write it, and run nothing from it. */
  readonly writable?: true;
}

/** How much of a GPU the programs of a container may use together. */
export interface GpuLimit {
  /** UUID. */
  readonly gpu: string;
  /** Its PCI address, by which NVML numbers GPUs. */
  readonly busId: string;
  /** 0: no limit. */
  readonly memoryMiB: number;
  /** Percent; 100: no limit. */
  readonly cores: number;
}

/** What a grant adds to the limits by which HAMi-core keeps the programs of a container. */
export interface GrantedLimits {
  readonly adds: GpuLimit;
  /** What the container had before anybody's grant. Its limits never get lower than these. */
  readonly before: readonly GpuLimit[];
  readonly region: RegionPlace;
}

/**
 * The file with the limits: one of ours, which is mounted in the container, or `name` in the folder of the host that the container's
 * device plugin has mounted at /tmp/vgpu.
 */
export type RegionPlace = { readonly file: string } | { readonly folder: string; readonly name: string };

export interface GrantedFile {
  /** In the container. */
  readonly path: string;
  /** `mount`: `from` is a path of the host. `link`: a symlink to `from`, by which programs ask for the library beside it. */
  readonly kind: 'mount' | 'link';
  readonly from: string;
  /** Of a mount: device number and inode of the file of the host. */
  readonly identity?: string;
  /** As in `HostFile`. */
  readonly writable?: true;
  /** `made`: by a grant, so removed with the last one. `found`: there before and left there. */
  readonly name: 'made' | 'found';
  /** As in `GrantedDevice`. */
  readonly madeDirectories: readonly string[];
}

export interface FilesPlan {
  readonly files: readonly GrantedFile[];
  /** Why programs may not find some of them, for people. */
  readonly warnings: readonly string[];
}

export interface GrantedDevice extends DeviceNode {
  /** Access the container had before anybody's grant. What is in here is never taken away. */
  readonly accessBefore: string;
  /** `made`: by a grant, so removed with the last one. `found`: there before and left there. */
  readonly node: 'made' | 'found';
  /** cgroup v1: access that cgroups had to exactly this device, by directory relative to the container's (`` its own). */
  readonly listedBefore: Readonly<Record<string, string>>;
  /** Directories that were missing, outermost first: `/dev/dri`. Removed when empty. */
  readonly madeDirectories: readonly string[];
}

export interface GrantReport {
  /** Rules written or programs replaced in this call; 0 when everything was there. */
  readonly rulesChanged: number;
  /** Paths of nodes made in this call. */
  readonly nodesMade: readonly string[];
  /** The same of files; absent where the grant has none. */
  readonly filesMade?: readonly string[];
  /** Limits were written in this call. */
  readonly limitsSet?: true;
}

export interface RevokeReport {
  readonly rulesChanged: number;
  readonly nodesRemoved: readonly string[];
  readonly filesRemoved?: readonly string[];
  /** Devices of which the container has lost nothing, because it had them before or others give them: `c 10:229`. */
  readonly stillAllowed: readonly string[];
}

export interface DeviceUser {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat; empty where it could not be found out. */
  readonly startTime: string;
  /** Kernel's name of the process, at most 15 bytes. */
  readonly command: string;
  readonly containerInit: boolean;
  /** `unknown`: it could not be found out, and is taken for a user. */
  readonly via: 'fd' | 'map' | 'unknown';
  /** `c 10:229`. */
  readonly device: string;
}

export interface KillOptions {
  /** Between SIGTERM and SIGKILL; 0: no SIGTERM. */
  readonly graceMs: number;
  /** For all of it. A process in an uninterruptible wait does not end before the kernel lets it go. */
  readonly limitMs?: number;
}

/** What a container's /dev is, which decides how a node gets into it. `shared`: it is the host's and is never written. */
export type ContainerDev = 'own' | 'shared' | 'user-namespace' | 'read-only';

export interface Inspection {
  readonly containerId: string;
  readonly pid: number;
  readonly cgroup: ContainerHandle['cgroup'];
  readonly dev: ContainerDev;
  /** v1: each cgroup's devices.list. v2: each attached program, outermost cgroup first. */
  readonly policies: readonly DevicePolicy[];
  readonly nodes: readonly (DeviceNode & InspectedDevice & { readonly ours: boolean })[];
  /** Devices that were asked for and have no node in its /dev. */
  readonly others: readonly InspectedDevice[];
  /** Why the kernel could not be asked. */
  readonly unasked?: string;
}

export interface InspectedDevice extends DeviceId {
  /** As the engine reads the rules; `?` where they are hidden or not understood. */
  readonly access: string;
  /** As the kernel answers; `?` where it could not be asked. */
  readonly kernel: string;
}

export type DevicePolicy =
  | { readonly cgroup: string; readonly list: readonly string[] }
  | {
      readonly cgroup: string;
      readonly programId: number;
      readonly name: string;
      readonly tag: string;
      readonly instructions: number;
      /** Rules of ours in front of the original, merged over all grants. */
      readonly ours: readonly DeviceRule[];
      /** False when the kernel hides its instructions, or what it was loaded with cannot be recovered. */
      readonly readable: boolean;
    };
