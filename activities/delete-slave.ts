import type { V1Pod } from '@kubernetes/client-node';
import { Context } from '@temporalio/activity';
import { fail } from '../contract/failures.ts';
import { mountWorkflowId, SLAVE_LABELS } from '../contract/names.ts';
import { endsAtMs, type Signed, type UnmountRequest } from '../contract/requests.ts';
import { verifiedRequest } from '../contract/signature.ts';
import type { PodRef } from './cluster.ts';
import type { Dependencies } from './dependencies.ts';
import { hasSlaveLabels, isLeftBehind, isOwnedBy, mountNameOf } from './slave-pod.ts';

export interface DeleteSlaveInput {
  readonly namespace: string;
  readonly name: string;
  /** Name of the mount that it was made for. */
  readonly mount: string;
  readonly targetUid: string;
  /** Only ask for its end, with the time that its own grace gives: its devices are still used. Does not wait for the end. */
  readonly slowly?: true;
  /** Needed from others than the owner, as long as the mount has one. */
  readonly signed?: Signed<UnmountRequest>;
}

/** The devices are taken back already, so `preStop` need not wait; 0 would free them before the containers have ended. */
const GRACE_SECONDS = 1;
/** The watch tells of the end at once; this is for an end that it missed. */
const LOOK_PERIOD_MS = 2_000;

/** For how long after its request an unmount may still clean up. */
const CLEAN_UP_MS = 10 * 60_000;

/**
 * Deletes a slave pod and waits until it is gone, so that its devices are free. Leaves alone what is not that slave.
 * @throws InvalidSignature, Forbidden when neither the owner nor the apiserver asks for it
 */
export async function deleteSlave(deps: Dependencies, input: DeleteSlaveInput): Promise<void> {
  const ref: PodRef = { namespace: input.namespace, name: input.name };
  const pod = await deps.cluster.getPod(ref);
  if (pod === undefined || !isOwnedBy(pod, input.targetUid) || !hasSlaveLabels(pod)) return;
  if ((mountNameOf(pod) ?? input.name) !== input.mount) return;
  await checkMayDelete(deps, input, pod);
  const uid = pod.metadata?.uid ?? '';
  if (input.slowly === true) await deps.cluster.deletePod(ref, uid, deps.slaveSettings.graceSeconds);
  else await deleteAndAwait(deps, ref, uid);
}

/** Whoever can write to Temporal can start this step: a mount that has an owner is its owner's, or the apiserver's, to end. */
async function checkMayDelete(deps: Dependencies, input: DeleteSlaveInput, pod: V1Pod): Promise<void> {
  const { namespace, mount, targetUid, signed } = input;
  if (Context.current().info.workflowExecution?.workflowId === mountWorkflowId(deps.clusterName, namespace, mount))
    return;
  if (signed !== undefined) {
    const { target, ...request } = verifiedRequest(signed, deps, 'goOn');
    const means = target.podUid === targetUid && target.container === pod.metadata?.labels?.[SLAVE_LABELS.container];
    const named = request.mount === undefined || request.mount === mount;
    // Of a mount that goes on only its owner knows which slave is meant.
    const whole = request.device === undefined;
    if (request.kind === 'unmount' && whole && means && named && deps.now().getTime() < endsAtMs(request) + CLEAN_UP_MS)
      return;
  }
  const owner = await deps.owners.describe(namespace, mount);
  if (signed === undefined && owner?.open !== true) return;
  if (owner?.mount !== undefined && isLeftBehind(pod, owner.mount)) return;
  throw fail('Forbidden', `Cannot delete slave pod "${input.name}": mount "${mount}" still needs it`);
}

async function deleteAndAwait(deps: Dependencies, ref: PodRef, uid: string): Promise<void> {
  const context = Context.current();
  const gone = Promise.withResolvers<void>();
  // While the deletion is under way nobody waits for it yet.
  gone.promise.catch(() => undefined);
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
