import { NODE_LABEL, nodeLease } from '../contract/names.ts';
import type { Dependencies } from './dependencies.ts';

/**
 * `gone`: there is no such Node. `notEnabled`: it lacks the label that brings a node worker. `unreachable`: its node worker
 * has not renewed its Lease in time.
 */
export type NodeState = 'alive' | 'gone' | 'notEnabled' | 'unreachable';

/** Whether the node worker on `node` lives, by its Lease: a queue that is full says nothing about that. */
export async function nodeState(
  deps: Pick<Dependencies, 'cluster' | 'namespace' | 'now'>,
  node: string,
): Promise<NodeState> {
  const [found, lease] = await Promise.all([
    deps.cluster.getNode(node),
    deps.cluster.getLease(deps.namespace, nodeLease(node)),
  ]);
  if (found === undefined) return 'gone';
  const renewedAt = lease?.spec?.renewTime;
  const seconds = lease?.spec?.leaseDurationSeconds;
  if (renewedAt !== undefined && seconds !== undefined) {
    if (deps.now().getTime() < new Date(renewedAt).getTime() + seconds * 1_000) return 'alive';
  }
  return found.metadata?.labels?.[NODE_LABEL.key] === NODE_LABEL.value ? 'unreachable' : 'notEnabled';
}
