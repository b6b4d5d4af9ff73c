import type { KernelEngine } from '../kernel/engine.ts';
import { hostFileAt, hostNamesIn, hostPathsOf, hostTextOf } from '../kubelet/host-paths.ts';
import type { Host } from './driver.ts';

interface HostAccess {
  readonly engine: Pick<KernelEngine, 'hostDevice'>;
  /** Where the root of the host is seen. */
  readonly hostRoot: string;
  readonly driverRoots: Host['driverRoots'];
}

/** The host of this node worker. */
export function hostOf({ engine, hostRoot, driverRoots }: HostAccess): Host {
  return {
    device: (path) => engine.hostDevice(`${hostRoot}${path}`),
    paths: (path) => hostPathsOf(hostRoot, path),
    resolve: (path) => hostFileAt(hostRoot, path),
    read: (path) => hostTextOf(hostRoot, path),
    list: (path) => hostNamesIn(hostRoot, path),
    driverRoots,
  };
}
