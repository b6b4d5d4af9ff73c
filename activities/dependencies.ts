import type { PublicKey } from '../contract/signature.ts';
import type { Cluster } from './cluster.ts';
import type { Owners } from './owners.ts';
import type { PodWatch } from './pod-watch.ts';
import type { UsedRequests } from './used-requests.ts';
import type { TargetWatch } from './watch-targets.ts';

/** What the cluster activities work with. */
export interface Dependencies {
  readonly cluster: Cluster;
  /** Follows all slave pods. */
  readonly slaves: PodWatch;
  /** Follows the pods of the namespaces that have slaves. */
  readonly targets: Pick<TargetWatch, 'get'>;
  readonly owners: Owners;
  /** Keys of the apiserver, as they are now; more than one while they are rotated. */
  readonly publicKeys: () => readonly PublicKey[];
  readonly usedRequests: UsedRequests;
  /** Namespace of device-mounter, where the node workers' Leases are. */
  readonly namespace: string;
  readonly slaveImage: string;
  readonly now: () => Date;
}
