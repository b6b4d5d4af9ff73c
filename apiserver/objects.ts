import type { DeviceMount, DeviceMountList } from '../contract/device-mount.ts';
import { type DeviceMountObject, mountOfObject } from '../contract/device-mount-object.ts';
import { fail } from '../contract/failures.ts';
import { GROUP_VERSION } from '../contract/names.ts';
import { isMeant, type Target, type UnmountRequest } from '../contract/requests.ts';
import { within } from './call.ts';

/** DeviceMounts as kube-apiserver has them now. */
export interface Objects {
  /** Undefined when there is none of the name. */
  get(namespace: string, name: string): Promise<DeviceMountObject | undefined>;
  /** Those of a pod, also those that have ended a short while ago. */
  list(target: Target): Promise<ObjectList>;
}

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
export async function mountsMeant(objects: Objects, request: UnmountRequest): Promise<DeviceMountList> {
  try {
    const { metadata, items } = await within(READ_MS, () => objects.list(request.target));
    const meant = items.map(mountOfObject).filter((mount) => isMeant(mount, request));
    return listOf(meant, metadata.resourceVersion);
  } catch (err) {
    throw fail('KubernetesUnavailable', 'Cannot tell what is mounted: kube-apiserver does not list devicemounts', err);
  }
}

/** The mounts with the identity of their objects, as far as that can be told: every answer about a mount has the same. */
export async function withObjects(objects: Objects, list: DeviceMountList, target: Target): Promise<DeviceMountList> {
  try {
    const { metadata, items } = await within(READ_MS, () => objects.list(target));
    const byMount = new Map(items.map((object) => [object.status?.mountUid, object]));
    const mounts = list.items.map((mount) => withObject(mount, byMount.get(mount.metadata.uid)));
    return listOf(mounts, metadata.resourceVersion);
  } catch {
    return list;
  }
}

/** Likewise one mount. */
export async function withItsObject(objects: Objects, mount: DeviceMount): Promise<DeviceMount> {
  const { namespace, name } = mount.metadata;
  try {
    return withObject(mount, await within(READ_MS, () => objects.get(namespace, name)));
  } catch {
    return mount;
  }
}

/** The object may be one of an earlier mount of the name. */
function withObject(mount: DeviceMount, object: DeviceMountObject | undefined): DeviceMount {
  const { uid, resourceVersion } = object?.metadata ?? {};
  if (uid === undefined || resourceVersion === undefined || object?.status?.mountUid !== mount.metadata.uid)
    return mount;
  return { ...mount, metadata: { ...mount.metadata, uid, resourceVersion } };
}

/** An empty `resourceVersion` is none. */
export function listOf(items: readonly DeviceMount[], resourceVersion = ''): DeviceMountList {
  return { apiVersion: GROUP_VERSION, kind: 'DeviceMountList', metadata: { resourceVersion }, items };
}
