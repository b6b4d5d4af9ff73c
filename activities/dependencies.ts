import type { Verifier } from '../contract/signature.ts';
import type { Cluster } from './cluster.ts';
import type { FirstObjects } from './first-objects.ts';
import type { Owners } from './owners.ts';
import type { PodWatch } from './pod-watch.ts';
import type { SlaveSettings } from './slave-settings.ts';
import type { TargetAnnotations } from './target-annotations.ts';
import type { TargetWatch } from './watch-targets.ts';

/** What the cluster activities work with. */
export interface Dependencies extends Verifier {
  readonly cluster: Cluster;
  /** Follows all slave pods. */
  readonly slaves: PodWatch;
  /** Follows the pods of the namespaces that have slaves. */
  readonly targets: Pick<TargetWatch, 'get'>;
  readonly owners: Owners;
  readonly annotations: TargetAnnotations;
  readonly firstObjects: FirstObjects;
  /** Namespace of device-mounter, where the node workers' Leases are. */
  readonly namespace: string;
  readonly slaveSettings: SlaveSettings;
  readonly now: () => Date;
}
