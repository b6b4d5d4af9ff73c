import type { ClusterNode } from '../../deploy/local/node/node.ts';
import { NODES } from './cluster.ts';

/**
 * Tests below `node/` run once for each node, each node's in a process of its own, side by side. Such a lane owns the node, its
 * devices and a namespace. All other tests run alone, in the namespace `default`.
 */
const lane = (globalThis as { readonly laneNode?: string }).laneNode;

/** Where a test's pods are. */
export const NAMESPACE = lane === undefined ? 'default' : `e2e-${lane}`;

/** The node that the tests of this lane may do everything with. Throws outside of a lane, or when the cluster lacks the node. */
export function laneNode(): ClusterNode {
  const node = NODES.find(({ name }) => name === lane);
  if (node === undefined) throw new Error(`Cannot test on node "${lane}": the cluster has none of that name`);
  return node;
}

/** Whether this lane has the row `index` of a table whose rows take turns over the nodes. */
export function isMine(index: number): boolean {
  return NODES[index % NODES.length]?.name === lane;
}
