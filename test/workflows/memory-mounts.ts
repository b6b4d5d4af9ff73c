import type { V1Pod } from '@kubernetes/client-node';
import { ClusterError, type MountPreconditions, type MountRef } from '../../activities/cluster.ts';
import type { DeviceMountObject } from '../../contract/device-mount-object.ts';

/** DeviceMounts in memory, as kube-apiserver keeps the objects of a CustomResourceDefinition with a status subresource. */
export class MemoryMounts {
  /** Without the CustomResourceDefinition there is no such path. */
  installed = true;
  /** What every list of objects ends with. */
  refuseLists: ClusterError | undefined;
  /** What every write of an object ends with. */
  refuseMounts: ClusterError | undefined;
  /** While it is pending, none is made. */
  mountsHeld: Promise<void> | undefined;
  /** What happens just after an object was read. */
  afterRead: ((ref: MountRef) => void) | undefined;
  /** Objects in a page of a list. */
  pageLimit = 200;
  /** What happens just after a page of a list was read. */
  afterPage: ((items: readonly DeviceMountObject[]) => void) | undefined;
  /** How often an object was created or replaced. */
  mountWrites = 0;
  readonly #objects = new Map<string, DeviceMountObject>();
  /** What was there when a list was begun. */
  readonly #listed = new Map<string, readonly DeviceMountObject[]>();
  #objectVersion = 0;

  /** What somebody else does to an object, whatever the rules. */
  edit(ref: MountRef, change: (object: DeviceMountObject) => DeviceMountObject): void {
    const object = this.#objects.get(keyOf(ref));
    if (object === undefined) return;
    const { metadata } = this.#store(change(object), object);
    if (metadata.deletionTimestamp !== undefined && !isKept(metadata)) this.#objects.delete(keyOf(ref));
  }

  async getMount(ref: MountRef): Promise<DeviceMountObject | undefined> {
    if (!this.installed) return undefined;
    const object = this.#objects.get(keyOf(ref));
    this.afterRead?.(ref);
    return object;
  }

  async listMounts(labels: string, namespace?: string): Promise<{ items: readonly DeviceMountObject[] }> {
    if (!this.installed) throw noPath();
    if (this.refuseLists !== undefined) throw this.refuseLists;
    const items = [...this.#objects.values()].filter(
      ({ metadata }) =>
        matches(metadata.labels, labels) && (namespace === undefined || metadata.namespace === namespace),
    );
    return { items };
  }

  async pageOfMounts(next: string): Promise<{ items: readonly DeviceMountObject[]; next: string }> {
    if (!this.installed) throw noPath();
    if (this.refuseLists !== undefined) throw this.refuseLists;
    const [version = '', start = '0'] = next.split(' ');
    const end = Number(start) + this.pageLimit;
    const sorted = () => [...this.#objects].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => object);
    const all = this.#listed.get(version) ?? sorted();
    const key = version || String(this.#listed.size + 1);
    this.#listed.set(key, all);
    const page = { items: all.slice(Number(start), end), next: end < all.length ? `${key} ${end}` : '' };
    this.afterPage?.(page.items);
    return page;
  }

  async createMount(object: DeviceMountObject): Promise<DeviceMountObject> {
    await this.mountsHeld;
    this.#write();
    const { name } = object.metadata;
    if (this.#objects.has(keyOf(object.metadata))) {
      throw new ClusterError(409, 'AlreadyExists', `devicemounts "${name}" already exists`);
    }
    const { status: _, ...rest } = object;
    const identity = { uid: crypto.randomUUID(), creationTimestamp: new Date().toISOString(), generation: 1 };
    return this.#store({ ...rest, metadata: { ...object.metadata, ...identity } }, undefined);
  }

  async replaceMount(object: DeviceMountObject): Promise<DeviceMountObject> {
    const before = this.#meant(object);
    const edited = JSON.stringify(before.spec) !== JSON.stringify(object.spec);
    const generation = (before.metadata.generation ?? 0) + (edited ? 1 : 0);
    const { uid = '', creationTimestamp = '' } = before.metadata;
    const { status: _, ...rest } = object;
    const metadata = { ...object.metadata, uid, creationTimestamp, generation };
    return this.#store({ ...rest, metadata, ...(before.status !== undefined && { status: before.status }) }, before);
  }

  async replaceMountStatus(object: DeviceMountObject): Promise<DeviceMountObject> {
    const before = this.#meant(object);
    return this.#store({ ...before, ...(object.status !== undefined && { status: object.status }) }, before);
  }

  async deleteMount(ref: MountRef, { uid, resourceVersion }: MountPreconditions): Promise<void> {
    const { metadata } = this.#objects.get(keyOf(ref)) ?? {};
    if (metadata?.uid !== uid || (resourceVersion ?? metadata.resourceVersion) !== metadata.resourceVersion) return;
    if (isKept(metadata)) {
      const deletionTimestamp = metadata.deletionTimestamp ?? new Date().toISOString();
      this.edit(ref, (object) => ({ ...object, metadata: { ...metadata, deletionTimestamp } }));
    } else this.#objects.delete(keyOf(ref));
  }

  /** What the garbage collector takes with a pod. */
  protected collect(pod: V1Pod): void {
    for (const [key, { metadata }] of this.#objects) {
      const owners = metadata.ownerReferences as readonly { readonly uid?: string }[];
      if (owners.some(({ uid }) => uid === pod.metadata?.uid)) this.#objects.delete(key);
    }
  }

  #write(): void {
    if (!this.installed) throw noPath();
    if (this.refuseMounts !== undefined) throw this.refuseMounts;
    this.mountWrites++;
  }

  #meant({ metadata }: DeviceMountObject): DeviceMountObject {
    this.#write();
    const before = this.#objects.get(keyOf(metadata));
    if (before === undefined) throw new ClusterError(404, 'NotFound', `devicemounts "${metadata.name}" not found`);
    if ((metadata.resourceVersion ?? before.metadata.resourceVersion) !== before.metadata.resourceVersion) {
      throw new ClusterError(409, 'Conflict', 'the object has been modified');
    }
    return before;
  }

  /** A write that changes nothing brings no new version. */
  #store(object: DeviceMountObject, before: DeviceMountObject | undefined): DeviceMountObject {
    const same = { ...object, metadata: { ...object.metadata, resourceVersion: before?.metadata.resourceVersion } };
    if (before !== undefined && JSON.stringify(same) === JSON.stringify(before)) return before;
    const resourceVersion = String(++this.#objectVersion);
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion } };
    this.#objects.set(keyOf(object.metadata), stored);
    return stored;
  }
}

function isKept({ finalizers = [] }: DeviceMountObject['metadata'] & { finalizers?: readonly string[] }): boolean {
  return finalizers.length > 0;
}

function noPath(): ClusterError {
  return new ClusterError(404, '', '404 page not found');
}

function keyOf({ namespace, name }: MountRef): string {
  return `${namespace}/${name}`;
}

/** Whether labels are chosen by a selector of equalities, empty for all. */
export function matches(has: Readonly<Record<string, string>> = {}, selector = ''): boolean {
  if (selector === '') return true;
  return selector.split(',').every((term) => {
    const [key = '', value] = term.split('=');
    return has[key] === value;
  });
}
