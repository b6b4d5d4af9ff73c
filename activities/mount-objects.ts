import type { DeviceMountObject } from '../contract/device-mount-object.ts';
import { type Cluster, ClusterError } from './cluster.ts';

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
