import type { SlaveRef } from '../../contract/device-mount.ts';
import type { DeviceNode, HostDevice } from '../kernel/engine.ts';
import type { Allocation } from '../kubelet/checkpoint.ts';

/** A device of a device plugin with the nodes that a container needs to use it; devices may share nodes. */
export interface AllocatedDevice {
  readonly id: string;
  readonly resource: string;
  readonly nodes: readonly DeviceNode[];
}

/** What is known of one slave. */
export interface Finding {
  readonly slave: SlaveRef;
  /** Of the resources that were asked for. */
  readonly allocations: readonly Allocation[];
  /** What its running containers have; empty for types that are attached at allocation. */
  readonly live: readonly DeviceNode[];
}

/** The host as drivers see it. */
export interface Host {
  /** A device node, by its absolute path. @throws NotFound, Invalid */
  device(path: string): HostDevice;
  /**
   * What the container runtime makes of a path of a device plugin: itself for a device node, its target for a symlink, all
   * device nodes below a directory. Each as the rest of its path below `path`, and where it is. @throws NotFound
   */
  paths(path: string): readonly { readonly rest: string; readonly hostPath: string }[];
}

/** Looks devices up; changes nothing. */
export interface DeviceDriver {
  /** What the findings of all slaves of a mount mean. @throws NotAllocated */
  devicesOf(findings: readonly Finding[], host: Host): readonly AllocatedDevice[];
}
