import type { DeviceMount } from '../../contract/device-mount.ts';
import { objectOf } from '../../contract/device-mount-object.ts';
import { mountOfRequest } from '../../contract/mount-of-request.ts';
import type { MemoryCluster } from '../workflows/memory-cluster.ts';
import { CLUSTER, FUSE, mountRequest, NAMESPACE } from '../workflows/requests.ts';

export const NODES = Array.from({ length: 20 }, (_, index) => `n${index}`);
const LONG_AGO_MS = Date.parse('2026-01-01T00:00:00Z');

/** The mount with that number, as its workflow tells of it: one device of one slave, mounted long ago. */
export function mountOf(index: number): DeviceMount {
  const node = NODES[index % NODES.length] ?? '';
  const number = String(index).padStart(12, '0');
  const slave = `${node}-slave-${number}-0`;
  const nodes = [{ path: '/dev/fuse', type: 'c', major: 10, minor: 229, access: 'rw' } as const];
  const at = new Date(LONG_AGO_MS).toISOString();
  return mountOfRequest(
    mountRequest(node, { name: `mount-${number}` }),
    { uid: `uid-${number}`, creationTimestamp: at, resourceVersion: String(LONG_AGO_MS) },
    {
      phase: 'Mounted',
      node,
      mountedAt: at,
      devices: [{ id: '/dev/fuse', resource: FUSE, slave, nodes }],
      slaves: [{ namespace: NAMESPACE, name: slave, uid: `uid-${slave}` }],
    },
  );
}

/** The number of the mount with that name. */
export function indexOf(name: string): number {
  return Number(name.slice('mount-'.length));
}

/** Puts the objects of `count` mounts into `cluster`, confirmed now, with managed fields as kube-apiserver keeps them. */
export async function showMany(cluster: MemoryCluster, count: number): Promise<void> {
  for (const node of NODES) cluster.addNode(node, { [FUSE]: 1 });
  const about = { cluster: CLUSTER, at: new Date().toISOString() };
  for (let index = 0; index < count; index++) {
    const mount = mountOf(index);
    const made = await cluster.createMount(objectOf(mount, about));
    const { status } = objectOf(mount, { ...about, before: made });
    await cluster.replaceMountStatus({ ...made, ...(status !== undefined && { status }) });
    cluster.edit(made.metadata, withManagedFields);
  }
}

function withManagedFields<T extends { readonly metadata: object }>(object: T): T {
  const fieldsV1 = Object.fromEntries(Array.from({ length: 25 }, (_, index) => [`f:field${index}`, {}]));
  const managedFields = [{ manager: 'device-mounter', operation: 'Update', fieldsType: 'FieldsV1', fieldsV1 }];
  return { ...object, metadata: { ...object.metadata, managedFields } };
}
