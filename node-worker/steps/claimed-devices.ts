import { claimResource } from '../../contract/claims.ts';
import type { SlaveRef } from '../../contract/device-mount.ts';
import { fail } from '../../contract/failures.ts';
import type { MountRequest } from '../../contract/requests.ts';
import type { PodClaim } from '../cluster/pod-view.ts';
import type { ClaimedDevice } from '../drivers/driver.ts';
import type { PreparedClaim } from '../kubelet/prepared-claims.ts';
import type { NodeDependencies } from '../mounts/dependencies.ts';

type Deps = Pick<NodeDependencies, 'kubelet' | 'pods'>;

/**
 * What running slaves have by dynamic resource allocation, by the UID of the slave: the claims of the request, and extended
 * resources that a driver serves in place of a device plugin.
 * @throws NotAllocated, SlaveEnded, KubeletUnavailable
 */
export async function claimedDevices(
  deps: Deps,
  { claims = [] }: Pick<MountRequest, 'claims'>,
  slaves: readonly SlaveRef[],
): Promise<ReadonlyMap<string, readonly ClaimedDevice[]>> {
  const prepared = await deps.kubelet.claims();
  const found = new Map<string, readonly ClaimedDevice[]>();
  for (const slave of slaves) {
    const devices = await devicesOfSlave(deps, slave, prepared);
    const lacking = claims.find(({ name }) => !devices.some(({ resource }) => resource === claimResource(name)));
    if (lacking !== undefined) {
      const why = `its driver has named no device of claim "${lacking.name}" to the kubelet`;
      throw fail('NotAllocated', `Cannot attach what "${slave.name}" has: ${why}`);
    }
    found.set(slave.uid, devices);
  }
  return found;
}

async function devicesOfSlave(
  { pods }: Deps,
  { namespace, name, uid }: SlaveRef,
  prepared: readonly PreparedClaim[],
): Promise<readonly ClaimedDevice[]> {
  const own = prepared.filter((claim) => claim.namespace === namespace && claim.podUids.includes(uid));
  if (own.length === 0) return [];
  // The pod says what its claims are for; it may have got them after it was last looked at.
  const pod = await pods.get(namespace, name);
  if (pod?.uid !== uid) throw fail('SlaveEnded', `Cannot attach what "${name}" has: the slave pod is gone`);
  return own.flatMap((claim) =>
    pod.claims.filter((podClaim) => podClaim.claim === claim.name).flatMap((podClaim) => devicesFor(podClaim, claim)),
  );
}

function devicesFor(podClaim: PodClaim, { devices }: PreparedClaim): readonly ClaimedDevice[] {
  return devices.flatMap(({ id, requests, cdiDevices }) => {
    if (podClaim.name !== undefined) return [{ id, resource: claimResource(podClaim.name), cdiDevices }];
    const serving = podClaim.serves.find(({ request }) => requests.length === 0 || requests.includes(request));
    return serving === undefined ? [] : [{ id, resource: serving.resource, cdiDevices }];
  });
}
