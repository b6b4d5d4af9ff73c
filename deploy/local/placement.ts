/** DaemonSets of the product, by name. */
export const DAEMON_SETS = ['device-mounter-node', 'hostdev-device-plugin'] as const;
export type DaemonSetName = (typeof DAEMON_SETS)[number];

/**
 * Label of the nodes that a DaemonSet of the product runs on in the local cluster. The manifests do not have it: it lets a test
 * take a DaemonSet's pod away from one node while the others keep theirs.
 */
export function placementLabel(daemonSet: DaemonSetName): string {
  return `local-cluster/${daemonSet}`;
}

export const PLACED = 'here';
