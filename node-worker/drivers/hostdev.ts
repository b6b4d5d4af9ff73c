import { fail } from '../../contract/failures.ts';
import type { AllocatedDevice, DeviceDriver } from './driver.ts';
import { apart, namedNodes } from './sources.ts';

/** Devices whose plugin names their nodes at Allocate. */
export const hostdev: DeviceDriver = {
  knowsNodes: () => true,
  devicesOf({ allocations }, host): readonly AllocatedDevice[] {
    return allocations.flatMap((allocation) => {
      const { resource, deviceIds } = allocation;
      const { nodes, ownOf } = namedNodes(allocation, host);
      const devices = deviceIds.map((id) => ({ id, resource, own: ownOf(id) }));
      if (nodes.length > 0) return apart(devices, nodes);
      throw fail('NotAllocated', `Cannot attach ${resource}: its device plugin must name device nodes, names none`);
    });
  },
};
