import type { DeviceNode, HostDevice } from '../kernel/engine.ts';
import type { Allocation } from '../kubelet/checkpoint.ts';

/** A device of a device plugin with the nodes that a container needs to use it; devices may share nodes. */
export interface AllocatedDevice {
  readonly id: string;
  readonly resource: string;
  readonly nodes: readonly DeviceNode[];
}

/** Looks devices up; changes nothing. */
export interface DeviceDriver {
  /** What the allocations of the slaves mean. `hostDevice` reads a device node of the host. @throws NotAllocated */
  devicesOf(allocations: readonly Allocation[], hostDevice: (path: string) => HostDevice): readonly AllocatedDevice[];
}
