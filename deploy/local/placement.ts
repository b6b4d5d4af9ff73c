/** Namespaces of the product's DaemonSets, by name: the plugin can be installed alone. */
export const DAEMON_SET_NAMESPACES = {
  'device-mounter-node': 'device-mounter',
  'hostdev-device-plugin': 'kube-system',
} as const;
export type DaemonSetName = keyof typeof DAEMON_SET_NAMESPACES;
export const DAEMON_SETS = Object.keys(DAEMON_SET_NAMESPACES) as readonly DaemonSetName[];

/**
 * Label of the nodes that a DaemonSet of the product runs on in the local cluster. The manifests do not have it: it lets a test
 * take a DaemonSet's pod away from one node while the others keep theirs.
 */
export function placementLabel(daemonSet: DaemonSetName): string {
  return `local-cluster/${daemonSet}`;
}

export const PLACED = 'here';
