import type { V1Pod } from '@kubernetes/client-node';

/** What became of a slave that has ended or is ending, for people; `undefined` for one that lives. */
export function slaveEnd(pod: V1Pod | undefined): string | undefined {
  if (pod === undefined) return 'it was deleted';
  const { phase, reason, message } = pod.status ?? {};
  // The words of whoever ended it, such as the kubelet, say more than the deletion that follows.
  if (phase === 'Failed' || phase === 'Succeeded')
    return `it has ended, ${[reason, message].filter(Boolean).join(': ') || phase}`;
  return pod.metadata?.deletionTimestamp === undefined ? undefined : 'it is being deleted';
}
