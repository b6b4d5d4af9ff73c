import { Context } from '@temporalio/activity';
import type { PodRef } from './cluster.ts';
import type { Dependencies } from './dependencies.ts';
import { isOwnedBy, mountNameOf } from './slave-pod.ts';

export interface DeleteSlaveInput {
  readonly namespace: string;
  readonly name: string;
  /** Name of the mount that it was made for. */
  readonly mount: string;
  readonly targetUid: string;
}

/** The devices are taken back already, so `preStop` need not wait; 0 would free them before the containers have ended. */
const GRACE_SECONDS = 1;
/** The watch tells of the end at once; this is for an end that it missed. */
const LOOK_PERIOD_MS = 2_000;

/** Deletes a slave pod and waits until it is gone, so that its devices are free. Leaves alone what is not that slave. */
export async function deleteSlave(deps: Dependencies, input: DeleteSlaveInput): Promise<void> {
  const ref: PodRef = { namespace: input.namespace, name: input.name };
  const pod = await deps.cluster.getPod(ref);
  if (pod === undefined || !isOwnedBy(pod, input.targetUid) || mountNameOf(pod) !== input.mount) return;
  await deleteAndAwait(deps, ref, pod.metadata?.uid ?? '');
}

async function deleteAndAwait(deps: Dependencies, ref: PodRef, uid: string): Promise<void> {
  const context = Context.current();
  const gone = Promise.withResolvers<void>();
  const unsubscribe = deps.slaves.subscribe((now, last) => {
    if (now === undefined && last.metadata?.uid === uid) gone.resolve();
  });
  const look = async (): Promise<void> => {
    const pod = await deps.cluster.getPod(ref);
    if (pod?.metadata?.uid !== uid) gone.resolve();
  };
  const period = setInterval(() => {
    context.heartbeat();
    look().catch(gone.reject);
  }, LOOK_PERIOD_MS);
  try {
    await deps.cluster.deletePod(ref, uid, GRACE_SECONDS);
    await Promise.race([Promise.all([gone.promise, look()]), context.cancelled]);
  } finally {
    clearInterval(period);
    unsubscribe();
  }
}
