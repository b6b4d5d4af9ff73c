import type { V1Pod } from '@kubernetes/client-node';
import { Context } from '@temporalio/activity';
import type { DeviceMount, SlaveRef } from '../contract/device-mount.ts';
import { fail, nodeUnreachable } from '../contract/failures.ts';
import { mountWorkflowId, NODE_LABEL } from '../contract/names.ts';
import { endsAtMs, type MountRequest, type Signed, sharesOf } from '../contract/requests.ts';
import { verifiedRequest } from '../contract/signature.ts';
import { ClusterError } from './cluster.ts';
import type { Dependencies } from './dependencies.ts';
import { nodeState } from './node-state.ts';
import { showNew } from './project-mount.ts';
import { isOwnedBy, mountNameOf, refOf, slavePod } from './slave-pod.ts';
import { checkContainer, livingTarget } from './target.ts';
import { verifiedTarget } from './verified-target.ts';

export interface ReserveInput {
  readonly signed: Signed<MountRequest>;
  /** First run id of the owning workflow. */
  readonly mountUid: string;
  /** As it is before anything is reserved. */
  readonly mount: DeviceMount;
}

export interface Reservation {
  readonly node: string;
  /** One for each share of the request, in that order. */
  readonly slaves: readonly SlaveRef[];
}

/**
 * Checks all that can be known before anything is made, then makes the slave pods, side by side. One that is there already, from an attempt
 * before, is taken. No slave is being made any more when it fails, but some may be there. The object of the mount, with this node and these
 * slaves, is begun: `projectMount` tells what has come of it.
 * @throws InvalidSignature, Forbidden, Timeout, BadRequest, NotFound, PodNotFound, TargetGone, ContainerNotReady, Invalid, NodeNotEnabled,
 * NodeUnreachable, SlaveRefused
 */
export async function reserveDevices(
  deps: Dependencies,
  { signed, mountUid, mount }: ReserveInput,
): Promise<Reservation> {
  const request = verifiedMount(deps, signed);
  verifiedTarget(deps, signed, mount);
  const [target] = await Promise.all([
    livingTarget(deps.cluster, request.target, 'PodNotFound'),
    checkOwner(deps, request, mountUid),
    checkClaims(deps, request),
  ]);
  checkContainer(target, request.target.container);
  const node = await livingNode(deps, target);
  const { slaveSettings: settings } = deps;
  const pods = sharesOf(request).map((_share, index) => slavePod(signed, target, { mountUid, index, node, settings }));
  const made = await Promise.allSettled(pods.map((pod) => createSlave(deps, request, pod)));
  const slaves = made.map((each) => {
    if (each.status === 'fulfilled') return each.value;
    throw each.reason;
  });
  // Not before: a mount that is refused a slave leaves no object.
  showNew(deps, { ...mount, status: { ...mount.status, node, slaves } });
  return { node, slaves };
}

/**
 * The request, if it was signed and still counts.
 * @throws InvalidSignature, Timeout
 */
function verifiedMount(
  deps: Pick<Dependencies, 'clusterName' | 'publicKeys' | 'now'>,
  signed: Signed<MountRequest>,
): MountRequest {
  const request = verifiedRequest(signed, deps);
  if (deps.now().getTime() <= endsAtMs(request)) return request;
  const { name, requestedAt, deadlineSeconds } = request;
  throw fail('Timeout', `Cannot mount "${name}": the request of ${requestedAt} was good for ${deadlineSeconds} s`);
}

/** Whoever can read requests in Temporal could otherwise have slaves made for a mount of somebody else. That a request is not used twice, the node sees to. */
async function checkOwner(deps: Dependencies, { name, target }: MountRequest, mountUid: string): Promise<void> {
  const { workflowExecution } = Context.current().info;
  const asks = workflowExecution?.workflowId === mountWorkflowId(deps.clusterName, target.namespace, name);
  const owner = asks ? await deps.owners.describe(target.namespace, name) : undefined;
  if (owner?.open === true && owner.firstRunId === mountUid) return;
  throw fail('Forbidden', `Cannot make a slave for mount "${name}": only its own workflow may ask`);
}

/** Without the claim, or the template, that it names, a pod waits for ever and nobody says why. */
async function checkClaims({ cluster }: Dependencies, { name, target, claims = [] }: MountRequest): Promise<void> {
  const { namespace } = target;
  const there = await Promise.all(claims.map((claim) => cluster.hasClaim(namespace, claim)));
  const claim = claims[there.indexOf(false)];
  if (claim === undefined) return;
  const { resourceClaimName, resourceClaimTemplateName } = claim;
  const missing =
    resourceClaimName === undefined
      ? `ResourceClaimTemplate "${resourceClaimTemplateName}"`
      : `ResourceClaim "${resourceClaimName}"`;
  throw fail('NotFound', `Cannot mount "${name}": namespace "${namespace}" has no ${missing}`);
}

async function livingNode(deps: Dependencies, { metadata, spec }: V1Pod): Promise<string> {
  const node = spec?.nodeName;
  if (node === undefined) {
    throw fail('ContainerNotReady', `Cannot use pod "${metadata?.name}": it is not scheduled to a node yet`);
  }
  const state = await nodeState(deps, node);
  if (state === 'notEnabled' || state === 'gone') {
    const label = `${NODE_LABEL.key}=${NODE_LABEL.value}`;
    throw fail('NodeNotEnabled', `Cannot mount on node "${node}": it lacks the label ${label}`);
  }
  if (state === 'unreachable') throw nodeUnreachable(node);
  return node;
}

async function createSlave(deps: Dependencies, request: MountRequest, slave: V1Pod): Promise<SlaveRef> {
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

/** Answers of the API server, a quota or a webhook that trying again does not change. */
function refusal(request: MountRequest, err: ClusterError): Error {
  if (err.causes.includes('NamespaceTerminating') || err.code === 404) {
    return fail('TargetGone', `Cannot mount in namespace "${request.target.namespace}": it is being deleted`, err);
  }
  return err.isClear ? fail('SlaveRefused', `Cannot create the slave pod: ${err.message}`, err) : err;
}
