import type { Verifier } from '../contract/signature.ts';
import type { Cluster } from './cluster.ts';
import type { Owners } from './owners.ts';
import type { PodWatch } from './pod-watch.ts';
import type { TargetWatch } from './watch-targets.ts';

/** What the cluster activities work with. */
export interface Dependencies extends Verifier {
  readonly cluster: Cluster;
  /** Follows all slave pods. */
  readonly slaves: PodWatch;
  /** Follows the pods of the namespaces that have slaves. */
  readonly targets: Pick<TargetWatch, 'get'>;
  readonly owners: Owners;
  /** Namespace of device-mounter, where the node workers' Leases are. */
  readonly namespace: string;
  readonly slaveImage: string;
  /** How long a slave that somebody ends holds its devices, so that the node worker can take them back from the target. */
  readonly slaveGraceSeconds: number;
  readonly now: () => Date;
}
