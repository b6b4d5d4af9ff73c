import { fail } from '../../contract/failures.ts';
import type { DeviceNode } from '../kernel/engine.ts';
import type { Allocation } from '../kubelet/checkpoint.ts';
import type { AllocatedDevice, DeviceDriver, Finding, Host } from './driver.ts';
import { apart, namedNodes, requireLive, withoutMaking } from './sources.ts';

/**
 * Devices of any plugin: what the running slave has in its /dev and may open is what was allocated to it, by whatever
 * mechanism. It must have what the plugin's answer and CDI specs name. Each device of a slave needs all of its nodes, but
 * those that are another one's own: which else belong to which, only the plugin knows.
 */
export const generic: DeviceDriver = { devicesOf };

function devicesOf({ slave, allocations, live = [] }: Finding, host: Host): readonly AllocatedDevice[] {
  const nodes = live.map(withoutMaking).filter(({ access }) => access !== '');
  const devices = allocations.flatMap((allocation) => {
    const { resource, deviceIds } = allocation;
    const named = namedNodes(allocation, host);
    requireLive(resource, named, nodes);
    return deviceIds.map((id) => ({ id, resource, own: named.ownOf(id) }));
  });
  if (nodes.length === 0) throw fail('NotAllocated', nothingFor(slave.name, allocations));
  return allocations.length === 0 ? [deviceOfPod(slave.name, nodes)] : apart(devices, nodes);
}

/** Without the kubelet's device manager (dynamic resource allocation) no ids are known. */
const deviceOfPod = (pod: string, nodes: readonly DeviceNode[]): AllocatedDevice => ({
  id: pod,
  resource: 'pod',
  nodes,
});

function nothingFor(slave: string, allocations: readonly Allocation[]): string {
  if (allocations.length === 0) return `Cannot attach what "${slave}" has: it runs without device nodes of its own`;
  const resources = allocations.map(({ resource }) => resource).join(', ');
  const granted = allocations.flatMap(grantedBy).join(', ');
  return `Cannot attach ${resources}: its device plugin has granted no device node, only ${granted || 'nothing'}`;
}

/** Names only: a value of the environment may be a secret. */
const grantedBy = ({ mounts, envs, annotations, cdiDevices }: Allocation): readonly string[] => [
  ...mounts.map(({ containerPath }) => `mount ${containerPath}`),
  ...Object.keys(envs).map((name) => `environment ${name}`),
  ...Object.keys(annotations).map((name) => `annotation ${name}`),
  ...cdiDevices.map((name) => `CDI device ${name}`),
];
