import { fail } from '../../contract/failures.ts';
import type { DeviceNode } from '../kernel/engine.ts';
import type { Allocation, DeviceSpec } from '../kubelet/checkpoint.ts';
import type { AllocatedDevice, DeviceDriver, Host } from './driver.ts';

/** Devices whose plugin names their nodes at Allocate. Each device of an allocation needs all nodes of its answer. */
export const hostdev: DeviceDriver = {
  devicesOf(findings, host): readonly AllocatedDevice[] {
    return findings
      .flatMap(({ allocations }) => allocations)
      .flatMap((allocation) => {
        const nodes = nodesOf(allocation, host);
        return allocation.deviceIds.map((id) => ({ id, resource: allocation.resource, nodes }));
      });
  },
};

function nodesOf({ resource, devices }: Allocation, host: Host): readonly DeviceNode[] {
  if (devices.length === 0) {
    throw fail('NotAllocated', `Cannot attach ${resource}: its device plugin must name device nodes, names none`);
  }
  return devices.flatMap((spec) => {
    const access = accessOf(spec, resource);
    return host.paths(spec.hostPath).map(({ rest, hostPath }) => ({
      ...host.device(hostPath),
      path: `${spec.containerPath}${rest}`,
      access,
    }));
  });
}

function accessOf({ permissions, hostPath }: DeviceSpec, resource: string): string {
  const access = ['r', 'w', 'm'].filter((letter) => permissions.includes(letter)).join('');
  if (access.length > 0 && access.length === permissions.length) return access;
  throw fail(
    'NotAllocated',
    `Cannot attach ${resource}: permissions of ${hostPath} must be some of r, w, m, are "${permissions}"`,
  );
}
