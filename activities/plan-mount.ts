import { fail, nodeUnreachable } from '../contract/failures.ts';
import { NODE_LABEL } from '../contract/names.ts';
import { endsAtMs, type MountRequest, type Signed } from '../contract/requests.ts';
import { verifiedRequest } from '../contract/signature.ts';
import type { Dependencies } from './dependencies.ts';
import { nodeState } from './node-state.ts';
import { checkContainer, livingTarget } from './target.ts';

export interface PlanMountInput {
  readonly signed: Signed<MountRequest>;
}

export interface MountPlan {
  readonly node: string;
}

/**
 * Checks everything about a mount that can be known before anything is made.
 * @throws InvalidSignature, Timeout, PodNotFound, TargetGone, ContainerNotReady, Invalid, NodeNotEnabled, NodeUnreachable
 */
export async function planMount(deps: Dependencies, { signed }: PlanMountInput): Promise<MountPlan> {
  const request = verifiedMount(deps, signed);
  const target = await livingTarget(deps.cluster, request.target, 'PodNotFound');
  checkContainer(target, request.target.container);
  const node = target.spec?.nodeName;
  if (node === undefined) {
    throw fail('ContainerNotReady', `Cannot use pod "${request.target.pod}": it is not scheduled to a node yet`);
  }
  const state = await nodeState(deps, node);
  if (state === 'notEnabled' || state === 'gone') {
    const label = `${NODE_LABEL.key}=${NODE_LABEL.value}`;
    throw fail('NodeNotEnabled', `Cannot mount on node "${node}": it lacks the label ${label}`);
  }
  if (state === 'unreachable') throw nodeUnreachable(node);
  return { node };
}

/**
 * The request, if it was signed and still counts.
 * @throws InvalidSignature, Timeout
 */
export function verifiedMount(
  deps: Pick<Dependencies, 'clusterName' | 'publicKeys' | 'now'>,
  signed: Signed<MountRequest>,
): MountRequest {
  const request = verifiedRequest(signed, deps);
  if (deps.now().getTime() <= endsAtMs(request)) return request;
  const { name, requestedAt, deadlineSeconds } = request;
  throw fail('Timeout', `Cannot mount "${name}": the request of ${requestedAt} was good for ${deadlineSeconds} s`);
}
