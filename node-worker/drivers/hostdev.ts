import { fail } from '../../contract/failures.ts';
import type { DeviceNode, HostDevice } from '../kernel/engine.ts';
import type { Allocation, DeviceSpec } from '../kubelet/checkpoint.ts';
import type { AllocatedDevice, DeviceDriver } from './driver.ts';

/** Devices whose plugin names their nodes at Allocate. Each device of an allocation needs all nodes of its answer. */
export const hostdev: DeviceDriver = {
  devicesOf(allocations, hostDevice): readonly AllocatedDevice[] {
    return allocations.flatMap((allocation) => {
      const nodes = nodesOf(allocation, hostDevice);
      return allocation.deviceIds.map((id) => ({ id, resource: allocation.resource, nodes }));
    });
  },
};

function nodesOf({ resource, devices }: Allocation, hostDevice: (path: string) => HostDevice): readonly DeviceNode[] {
  if (devices.length === 0) {
    throw fail('NotAllocated', `Cannot attach ${resource}: its device plugin must name device nodes, names none`);
  }
  return devices.map((spec) => ({
    ...hostDevice(spec.hostPath),
    path: spec.containerPath,
    access: accessOf(spec, resource),
  }));
}

function accessOf({ permissions, hostPath }: DeviceSpec, resource: string): string {
  const access = ['r', 'w', 'm'].filter((letter) => permissions.includes(letter)).join('');
  if (access.length > 0 && access.length === permissions.length) return access;
  throw fail(
    'NotAllocated',
    `Cannot attach ${resource}: permissions of ${hostPath} must be some of r, w, m, are "${permissions}"`,
  );
}
