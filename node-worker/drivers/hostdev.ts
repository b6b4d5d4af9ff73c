import { fail } from '../../contract/failures.ts';
import type { AllocatedDevice, DeviceDriver } from './driver.ts';
import { specNodes } from './sources.ts';

/** Devices whose plugin names their nodes at Allocate. Each device of an allocation needs all nodes of its answer. */
export const hostdev: DeviceDriver = {
  knowsNodes: () => true,
  devicesOf({ allocations }, host): readonly AllocatedDevice[] {
    return allocations.flatMap((allocation) => {
      const { resource, deviceIds } = allocation;
      const nodes = specNodes(allocation, host);
      if (nodes.length > 0) return deviceIds.map((id) => ({ id, resource, nodes }));
      throw fail('NotAllocated', `Cannot attach ${resource}: its device plugin must name device nodes, names none`);
    });
  },
};
