import type { DeviceMount, DeviceMountList } from '../../contract/device-mount.ts';
import { type DeviceMountObject, mountOfObject } from '../../contract/device-mount-object.ts';
import { fail } from '../../contract/failures.ts';
import { GROUP_VERSION } from '../../contract/names.ts';
import { isMeant, type Target, type UnmountRequest } from '../../contract/requests.ts';
import { within } from '../requests/patience.ts';

/** Lists the DeviceMounts of a pod as kube-apiserver has them now, also those that have ended a short while ago. */
export type ListObjects = (target: Target) => Promise<ObjectList>;

export interface ObjectList {
  readonly metadata: { readonly resourceVersion: string };
  readonly items: readonly DeviceMountObject[];
}

/** For what takes milliseconds, by the server that has passed the request on. */
const READ_MS = 2_000;

/**
 * What is still mounted of what a request means.
 * @throws KubernetesUnavailable
 */
export async function mountsMeant(listObjects: ListObjects, request: UnmountRequest): Promise<DeviceMountList> {
  try {
    const { metadata, items } = await within(READ_MS, () => listObjects(request.target));
    const meant = items.map(mountOfObject).filter((mount) => isMeant(mount, request));
    return listOf(meant, metadata.resourceVersion);
  } catch (err) {
    throw fail('KubernetesUnavailable', 'Cannot tell what is mounted: kube-apiserver does not list devicemounts', err);
  }
}

/** The mounts of a pod with the identity of their objects, as far as that can be told: every answer about a mount has the same. */
export async function withObjects(
  listObjects: ListObjects,
  mounts: readonly DeviceMount[],
  target: Target,
): Promise<DeviceMountList> {
  // The answer does not fail by that.
  const list = await within(READ_MS, () => listObjects(target)).catch(() => undefined);
  return listOf(
    mounts.map((mount) => identified(mount, list?.items ?? [])),
    list?.metadata.resourceVersion,
  );
}

/** An object may be one of an earlier mount of the name. A mount that an unmount has found may have its object's UID already. */
function identified(mount: DeviceMount, objects: readonly DeviceMountObject[]): DeviceMount {
  const { uid } = mount.metadata;
  const object = objects.find(({ metadata, status }) => status?.mountUid === uid || metadata.uid === uid);
  if (object === undefined) return withoutVersion(mount);
  return {
    ...mount,
    metadata: {
      ...mount.metadata,
      uid: object.metadata.uid ?? uid,
      resourceVersion: object.metadata.resourceVersion ?? '',
    },
  };
}

/** A mount without an object. A workflow counts its versions in its own way: kube-apiserver could not begin a watch there. */
export function withoutVersion(mount: DeviceMount): DeviceMount {
  return { ...mount, metadata: { ...mount.metadata, resourceVersion: '' } };
}

/** An empty `resourceVersion` is none. */
export function listOf(items: readonly DeviceMount[], resourceVersion = ''): DeviceMountList {
  return { apiVersion: GROUP_VERSION, kind: 'DeviceMountList', metadata: { resourceVersion }, items };
}
