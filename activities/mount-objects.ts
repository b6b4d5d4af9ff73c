import type { DeviceMount } from '../contract/device-mount.ts';
import type { DeviceMountObject } from '../contract/device-mount-object.ts';
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
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`no answer within ${LIST_MS / 1_000} s`)), LIST_MS);
  try {
    const { items } = await Promise.race([cluster.listMounts(''), late.promise]);
    return { byId: new Map(items.map((object) => [idOf(object), object])) };
  } catch (err) {
    return { problem: err instanceof Error ? err.message : String(err) };
  } finally {
    clearTimeout(timer);
  }
}
