import type { V1Pod } from '@kubernetes/client-node';
import { SIGNALS } from '../contract/workflows.ts';
import type { Owners } from './owners.ts';
import type { PodWatch } from './pod-watch.ts';
import { mountNameOf } from './slave-pod.ts';

/** Tells the owner of each slave that ends, once; when that failed, again at the next event or list. */
export function tellOwners(slaves: PodWatch, owners: Owners, onError: (err: unknown) => void): () => void {
  const told = new Set<string>();
  return slaves.subscribe((now, last) => {
    const { namespace, uid } = last.metadata ?? {};
    const name = mountNameOf(last);
    if (name === undefined || namespace === undefined || uid === undefined || !isEnding(now)) return;
    const known = told.has(uid);
    if (now === undefined) told.delete(uid);
    else told.add(uid);
    if (known) return;
    owners.signal(namespace, name, SIGNALS.slaveEnding, uid).catch((err: unknown) => {
      told.delete(uid);
      onError(err);
    });
  });
}

function isEnding(pod: V1Pod | undefined): boolean {
  const phase = pod?.status?.phase;
  return (
    pod === undefined || pod.metadata?.deletionTimestamp !== undefined || phase === 'Failed' || phase === 'Succeeded'
  );
}
