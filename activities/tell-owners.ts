import { SIGNALS } from '../contract/workflows.ts';
import type { Owners } from './owners.ts';
import type { PodWatch } from './pod-watch.ts';
import { mountNameOf, slaveEnd } from './slave-pod.ts';

/** Tells the owner of each slave that ends, once; when that failed, again at the next event or list. */
export function tellOwners(slaves: PodWatch, owners: Owners, onError: (err: unknown) => void): () => void {
  const told = new Set<string>();
  return slaves.subscribe((now, last) => {
    const { namespace, uid } = last.metadata ?? {};
    const name = mountNameOf(last);
    const end = slaveEnd(now);
    if (name === undefined || namespace === undefined || uid === undefined || end === undefined) return;
    const known = told.has(uid);
    if (now === undefined) told.delete(uid);
    else told.add(uid);
    if (known) return;
    owners.signal(namespace, name, SIGNALS.slaveEnding, uid, end).catch((err: unknown) => {
      told.delete(uid);
      onError(err);
    });
  });
}
