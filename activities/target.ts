import type { V1Pod } from '@kubernetes/client-node';
import { fail } from '../contract/failures.ts';
import type { Target } from '../contract/requests.ts';
import type { Cluster } from './cluster.ts';

/**
 * The target pod, if it is the one that was asked for and not at its end.
 * @param absent failure when there is no such pod: one that was there when the mount began is gone
 * @throws PodNotFound, TargetGone
 */
export async function livingTarget(
  cluster: Pick<Cluster, 'getPod'>,
  target: Target,
  absent: 'PodNotFound' | 'TargetGone' = 'TargetGone',
): Promise<V1Pod> {
  const ref = { namespace: target.namespace, name: target.pod };
  const pod = await cluster.getPod(ref);
  const which = `Cannot use pod "${target.namespace}/${target.pod}"`;
  if (pod === undefined) throw fail(absent, `${which}: it is not there`);
  const end = endOf(pod, target.podUid);
  if (end !== undefined) throw fail('TargetGone', `${which}: ${end}`);
  return pod;
}

/** Why the pod can no longer be a target, as the end of a sentence, or `undefined` when it can. */
export function endOf(pod: V1Pod, uid: string): string | undefined {
  if (pod.metadata?.uid !== uid) return `it is another pod of that name, whose UID is not ${uid}`;
  if (pod.metadata.deletionTimestamp !== undefined) return 'it is being deleted';
  const phase = pod.status?.phase;
  if (phase === 'Succeeded' || phase === 'Failed') return `it has ended (${phase})`;
  return undefined;
}

/**
 * Checks that the container is there and runs; it need not be ready, since it may become so only by the device.
 * @throws ContainerNotReady, Invalid
 */
export function checkContainer(pod: V1Pod, container: string): void {
  const which = `Cannot use container "${container}" of pod "${pod.metadata?.namespace}/${pod.metadata?.name}"`;
  // Of the init containers those that go on beside the others, as the apiserver has it.
  const sidecars = (pod.spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always');
  const names = [...(pod.spec?.containers ?? []), ...sidecars].map(({ name }) => name);
  if (!names.includes(container)) {
    throw fail('Invalid', `${which}: it must be one of ${names.join(', ')}`);
  }
  const statuses = [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])];
  const state = statuses.find(({ name }) => name === container)?.state;
  if (state?.running === undefined) {
    const now = state?.waiting?.reason ?? state?.terminated?.reason ?? 'not started yet';
    throw fail('ContainerNotReady', `${which}: it does not run (${now})`);
  }
}

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
