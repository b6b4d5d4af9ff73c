import { Context } from '@temporalio/activity';
import { fail } from '../contract/failures.ts';
import { mountWorkflowId } from '../contract/names.ts';
import type { MountRequest, Signed } from '../contract/requests.ts';
import type { Dependencies } from './dependencies.ts';

/**
 * Checks that the signed request makes one mount only, and that the mount's own workflow asks: whoever can read requests in
 * Temporal could otherwise mount again what was unmounted.
 * @param mountUid first run id of the workflow that uses it
 * @throws Forbidden, MountEnded
 */
export async function checkUnused(deps: Dependencies, signed: Signed<MountRequest>, mountUid: string): Promise<void> {
  const { name, target } = signed.request;
  const { workflowExecution } = Context.current().info;
  const owner = await deps.owners.describe(target.namespace, name);
  const asks = workflowExecution?.workflowId === mountWorkflowId(deps.clusterName, target.namespace, name);
  if (!asks || owner?.open !== true || owner.firstRunId !== mountUid) {
    throw fail('Forbidden', `Cannot make a slave for mount "${name}": only its own workflow may ask`);
  }
  const first = deps.usedRequests.use(signed, mountUid, deps.now().getTime());
  if (first !== mountUid || (await deps.owners.usedBefore(signed, mountUid))) {
    throw fail('MountEnded', `Cannot mount "${name}" again: the request was used already, by a mount that has ended`);
  }
}
