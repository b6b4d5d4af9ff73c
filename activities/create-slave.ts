import type { V1Pod } from '@kubernetes/client-node';
import type { SlaveRef } from '../contract/device-mount.ts';
import { fail } from '../contract/failures.ts';
import type { MountRequest, Signed } from '../contract/requests.ts';
import { checkUnused } from './check-unused.ts';
import { ClusterError } from './cluster.ts';
import type { Dependencies } from './dependencies.ts';
import { verifiedMount } from './plan-mount.ts';
import { isOwnedBy, mountNameOf, slavePod } from './slave-pod.ts';
import { livingTarget } from './target.ts';

export interface CreateSlaveInput {
  readonly signed: Signed<MountRequest>;
  /** First run id of the owning workflow. */
  readonly mountUid: string;
  readonly index: number;
  readonly node: string;
}

/**
 * Makes a slave pod; when it is there already, from an attempt before, that one is taken.
 * @throws InvalidSignature, Forbidden, Timeout, MountEnded, BadRequest, TargetGone, Invalid, SlaveRefused
 */
export async function createSlave(deps: Dependencies, input: CreateSlaveInput): Promise<SlaveRef> {
  const request = verifiedMount(deps, input.signed);
  await checkUnused(deps, input.signed, input.mountUid);
  const target = await livingTarget(deps.cluster, request.target);
  if (target.spec?.nodeName !== input.node) {
    const rule = `its target is on node "${target.spec?.nodeName}", not on "${input.node}"`;
    throw fail('Forbidden', `Cannot make a slave for mount "${request.name}": ${rule}`);
  }
  const slave = slavePod(input.signed, target, { ...input, image: deps.slaveImage });
  try {
    return refOf(await deps.cluster.createPod(request.target.namespace, slave));
  } catch (err) {
    if (!(err instanceof ClusterError)) throw err;
    if (err.code === 409 && err.reason === 'AlreadyExists') return adopted(deps, request, slave);
    throw refusal(request, err);
  }
}

async function adopted(deps: Dependencies, request: MountRequest, slave: V1Pod): Promise<SlaveRef> {
  const { namespace, name } = refOf(slave);
  const pod = await deps.cluster.getPod({ namespace, name });
  const which = `Cannot create slave pod "${namespace}/${name}"`;
  // Left by an undo that has not finished; the next attempt finds the name free.
  if (pod === undefined || pod.metadata?.deletionTimestamp !== undefined) {
    throw fail('Internal', `${which}: one of that name is still ending`);
  }
  if (!isOwnedBy(pod, request.target.podUid) || mountNameOf(pod) !== request.name) {
    throw fail('SlaveRefused', `${which}: another pod has that name`);
  }
  return refOf(pod);
}

function refOf(pod: V1Pod): SlaveRef {
  const { namespace = '', name = '', uid = '' } = pod.metadata ?? {};
  return { namespace, name, uid };
}

/** Answers of the API server, a quota or a webhook that trying again does not change. */
function refusal(request: MountRequest, err: ClusterError): Error {
  if (err.causes.includes('NamespaceTerminating') || err.code === 404) {
    return fail('TargetGone', `Cannot mount in namespace "${request.target.namespace}": it is being deleted`, err);
  }
  return err.isClear ? fail('SlaveRefused', `Cannot create the slave pod: ${err.message}`, err) : err;
}
