import { fail } from '../../contract/failures.ts';
import type { DeviceNode } from '../kernel/engine.ts';
import type { Allocation } from '../kubelet/checkpoint.ts';
import { cdiDevicesOf } from './cdi.ts';
import type { AllocatedDevice, ClaimedDevice, DeviceDriver, Finding, Host } from './driver.ts';
import { apart, claimedNodes, namedNodes, type OwnPaths, requireLive, withoutMaking } from './sources.ts';

/**
 * Devices of any plugin or claim: what the running slave has in its /dev and may open is what was allocated to it, by whatever
 * mechanism. It must have what the plugin's answer and CDI specs name. Each device of a slave needs all of its nodes, but
 * those that are another one's own: which else belong to which, only the plugin knows.
 */
export const generic: DeviceDriver = { devicesOf };

function devicesOf(finding: Finding, host: Host): readonly AllocatedDevice[] {
  const { allocations, claimed = [], live = [] } = finding;
  const nodes = live.map(withoutMaking).filter(({ access }) => access !== '');
  const devices = [
    ...allocations.flatMap((allocation) => allocatedIn(allocation, nodes, host)),
    ...claimed.map((device) => claimedIn(device, nodes, host)),
  ];
  if (nodes.length === 0 || devices.length === 0) throw fail('NotAllocated', nothingFor(finding, host));
  return apart(devices, nodes);
}

function allocatedIn(allocation: Allocation, nodes: readonly DeviceNode[], host: Host): readonly OwnPaths[] {
  const { resource, deviceIds } = allocation;
  const named = namedNodes(allocation, host);
  requireLive(resource, named, nodes);
  return deviceIds.map((id) => ({ id, resource, own: named.ownOf(id) }));
}

function claimedIn(device: ClaimedDevice, nodes: readonly DeviceNode[], host: Host): OwnPaths {
  const { id, resource } = device;
  const named = claimedNodes(device, host);
  requireLive(resource, named, nodes, 'driver');
  return { id, resource, own: named.own };
}

function nothingFor({ slave, allocations, claimed = [] }: Finding, host: Host): string {
  if (allocations.length + claimed.length === 0)
    return `Cannot attach what "${slave.name}" has: it runs, and neither a device plugin nor a claim has given it a device`;
  const resources = [...new Set([...allocations, ...claimed].map(({ resource }) => resource))].join(', ');
  const given = [...allocations.flatMap(grantedBy), ...[...allocations, ...claimed].flatMap((one) => byCdi(one, host))];
  const who = allocations.length > 0 ? 'device plugin' : 'driver';
  return `Cannot attach ${resources}: its ${who} has granted no device node, only ${given.join(', ') || 'nothing'}`;
}

/** Names only: a value of the environment may be a secret. */
const grantedBy = ({ mounts, envs, annotations }: Allocation): readonly string[] => [
  ...mounts.map(({ containerPath }) => `mount ${containerPath}`),
  ...Object.keys(envs).map((name) => `environment ${name}`),
  ...Object.keys(annotations).map((name) => `annotation ${name}`),
];

const byCdi = ({ cdiDevices }: Pick<Allocation, 'cdiDevices'>, host: Host): readonly string[] =>
  cdiDevicesOf(cdiDevices, host).map(
    ({ others }, index) => `CDI device ${cdiDevices[index]} (${others.join(', ') || 'nothing'})`,
  );
