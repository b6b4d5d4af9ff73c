import type { Target } from '../contract/requests.ts';
import type { Cluster } from './cluster.ts';
import { endOf } from './target.ts';

/** Whether a target can still use devices. `ending` is one that is being deleted: its processes may still need them. */
export type TargetState = 'alive' | 'ending' | 'gone';

/** How the target of a mount is now; one that finished, was evicted or was replaced under its name is gone. */
export async function targetState(cluster: Pick<Cluster, 'getPod'>, target: Target): Promise<TargetState> {
  const pod = await cluster.getPod({ namespace: target.namespace, name: target.pod });
  if (pod === undefined || pod.metadata?.uid !== target.podUid) return 'gone';
  const phase = pod.status?.phase;
  if (phase === 'Succeeded' || phase === 'Failed') return 'gone';
  return endOf(pod, target.podUid) === undefined ? 'alive' : 'ending';
}
