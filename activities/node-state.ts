import { setTimeout as delay } from 'node:timers/promises';
import type { V1Lease } from '@kubernetes/client-node';
import { NODE_LABEL, NODE_LEASE_SECONDS, nodeLease } from '../contract/names.ts';
import type { Dependencies } from './dependencies.ts';

/**
 * `gone`: there is no such Node. `notEnabled`: it lacks the label that brings a node worker. `unreachable`: its node worker
 * has not renewed its Lease in time.
 */
export type NodeState = 'alive' | 'gone' | 'notEnabled' | 'unreachable';

type Deps = Pick<Dependencies, 'cluster' | 'namespace' | 'now'>;

/** How far the clock of a node may be behind ours. */
const CLOCK_SKEW_MS = 60_000;
/** A node worker that is alive renews its Lease within this time. */
const RENEWAL_MS = (NODE_LEASE_SECONDS * 1_000) / 3 + 1_000;

/**
 * Whether the node worker on `node` lives, by its Lease: a queue that is full says nothing about that. Takes some seconds where
 * only a renewal can tell a worker that has stopped from a clock that is behind.
 */
export async function nodeState(deps: Deps, node: string, renewalMs = RENEWAL_MS): Promise<NodeState> {
  const [found, lease] = await Promise.all([deps.cluster.getNode(node), leaseOf(deps, node)]);
  if (found === undefined) return 'gone';
  if (await isAlive(deps, node, lease, renewalMs)) return 'alive';
  return found.metadata?.labels?.[NODE_LABEL.key] === NODE_LABEL.value ? 'unreachable' : 'notEnabled';
}

async function isAlive(deps: Deps, node: string, lease: V1Lease | undefined, renewalMs: number): Promise<boolean> {
  const renewedAtMs = renewedAtOf(lease);
  const { leaseDurationSeconds = 0 } = lease?.spec ?? {};
  const lateMs = deps.now().getTime() - renewedAtMs - leaseDurationSeconds * 1_000;
  if (lateMs < 0) return true;
  if (!(lateMs < CLOCK_SKEW_MS)) return false;
  await delay(renewalMs);
  return renewedAtOf(await leaseOf(deps, node)) !== renewedAtMs;
}

function leaseOf({ cluster, namespace }: Deps, node: string): Promise<V1Lease | undefined> {
  return cluster.getLease(namespace, nodeLease(node));
}

/** `NaN` for one that was never renewed. */
function renewedAtOf(lease: V1Lease | undefined): number {
  return new Date(lease?.spec?.renewTime ?? Number.NaN).getTime();
}
