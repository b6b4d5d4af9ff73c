import { fail } from '../../contract/failures.ts';
import type { DeviceNode } from '../kernel/engine.ts';
import type { AllocatedDevice, DeviceDriver, Finding } from './driver.ts';
import { nodesText } from './nodes-text.ts';

/**
 * Devices of any plugin: what the running slave has in its /dev and may open is what was allocated to it, by whatever
 * mechanism. Each device of a slave needs all of its nodes: which belong to which, only the plugin knows.
 */
export const generic: DeviceDriver = {
  devicesOf: (findings): readonly AllocatedDevice[] => findings.flatMap(devicesOfSlave),
};

function devicesOfSlave({ slave, allocations, live }: Finding): readonly AllocatedDevice[] {
  // Every container may make nodes (`m`, OCI default devices): that is no part of the allocation.
  const nodes = live.map((node) => ({ ...node, access: node.access.replace('m', '') })).filter(({ access }) => access);
  if (nodes.length === 0) {
    throw fail('NotAllocated', `Cannot attach what "${slave.name}" has: it runs without device nodes of its own`);
  }
  for (const { resource, devices } of allocations) {
    const lacking = devices.find(({ containerPath }) => !nodes.some(({ path }) => isAtOrBelow(path, containerPath)));
    if (lacking === undefined) continue;
    const named = devices.map(({ containerPath }) => containerPath).join(', ');
    throw fail(
      'NotAllocated',
      `Cannot attach ${resource}: its device plugin names ${named}, the running slave has ${nodesText(nodes)}`,
    );
  }
  if (allocations.length === 0) return [deviceOfPod(slave.name, nodes)];
  return allocations.flatMap(({ resource, deviceIds }) => deviceIds.map((id) => ({ id, resource, nodes })));
}

/** Without the kubelet's device manager (dynamic resource allocation) no ids are known. */
const deviceOfPod = (pod: string, nodes: readonly DeviceNode[]): AllocatedDevice => ({
  id: pod,
  resource: 'pod',
  nodes,
});

const isAtOrBelow = (path: string, top: string): boolean => path === top || path.startsWith(`${top}/`);
