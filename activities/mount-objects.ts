import type { DeviceMount } from '../contract/device-mount.ts';
import type { DeviceMountObject } from '../contract/device-mount-object.ts';
import { type Cluster, ClusterError } from './cluster.ts';
import type { Dependencies } from './dependencies.ts';

/** Ten thousand objects take a second or two; a survey has a minute for everything. */
const LIST_MS = 15_000;

export interface MountObjects {
  /** By `idOf`; absent when they could not be read. */
  readonly byId?: ReadonlyMap<string, DeviceMountObject>;
  /** Why they could not be read. */
  readonly problem?: string;
}

export function idOf({ metadata: { namespace, name } }: DeviceMount | DeviceMountObject): string {
  return `${namespace}/${name}`;
}

/** Lists the objects of all mounts. Never fails: mounts are repaired even when nobody can read their objects. */
export async function mountObjects({ cluster }: Pick<Dependencies, 'cluster'>): Promise<MountObjects> {
  try {
    const items = await listedWithin(LIST_MS, cluster, '');
    return { byId: new Map(items.map((object) => [idOf(object), object])) };
  } catch (err) {
    return { problem: err instanceof Error ? err.message : String(err) };
  }
}

/**
 * The objects with `labels`, a label selector, of a namespace or of all.
 * @throws ClusterError, also when there is no answer within `limitMs`
 */
export async function listedWithin(
  limitMs: number,
  cluster: Pick<Cluster, 'listMounts'>,
  labels: string,
  namespace?: string,
): Promise<readonly DeviceMountObject[]> {
  const late = Promise.withResolvers<never>();
  const message = `it does not list devicemounts within ${limitMs / 1_000} s`;
  const timer = setTimeout(() => late.reject(new ClusterError(0, '', message)), limitMs);
  try {
    return (await Promise.race([cluster.listMounts(labels, namespace), late.promise])).items;
  } finally {
    clearTimeout(timer);
  }
}
