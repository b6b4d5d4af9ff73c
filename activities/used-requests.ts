import { Context } from '@temporalio/activity';
import { fail } from '../contract/failures.ts';
import { mountWorkflowId } from '../contract/names.ts';
import { endsAtMs, type MountRequest, type Signed } from '../contract/requests.ts';
import type { Dependencies } from './dependencies.ts';

/**
 * Signatures of requests that made a mount, by this process; Temporal's visibility store lags by seconds. Neither is a guard, since
 * another process may ask first: they only spare a slave that would be made in vain. The guard is the node, which attaches nothing for
 * a request twice.
 */
export class UsedRequests {
  readonly #uses = new Map<string, { readonly mountUid: string; readonly endsAtMs: number }>();

  /** The mount that the request is for: the first that used it. Forgets requests that have ended. */
  use({ request, signature }: Signed<MountRequest>, mountUid: string, nowMs: number): string {
    for (const [key, use] of this.#uses) if (use.endsAtMs < nowMs) this.#uses.delete(key);
    const used = this.#uses.get(signature)?.mountUid;
    if (used !== undefined) return used;
    this.#uses.set(signature, { mountUid, endsAtMs: endsAtMs(request) });
    return mountUid;
  }
}

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
  const asks = workflowExecution?.workflowId === mountWorkflowId(target.namespace, name);
  if (!asks || owner?.open !== true || owner.firstRunId !== mountUid) {
    throw fail('Forbidden', `Cannot make a slave for mount "${name}": its own workflow must ask, another does`);
  }
  const first = deps.usedRequests.use(signed, mountUid, deps.now().getTime());
  if (first !== mountUid || (await deps.owners.usedBefore(signed, mountUid))) {
    throw fail(
      'MountEnded',
      `Cannot mount "${name}" again: the request must be new, was used by a mount that has ended`,
    );
  }
}
