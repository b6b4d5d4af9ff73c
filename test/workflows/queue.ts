import { controlQueue, mountWorkflowId } from '../../contract/names.ts';
import type { MountRequest, Signed } from '../../contract/requests.ts';
import { WORKFLOWS } from '../../contract/workflows.ts';
import type { Harness } from './harness.ts';
import { eventually } from './outcome.ts';
import { CLUSTER } from './requests.ts';

/** Starts a mount and waits for nothing. */
export async function begin({ client }: Harness, signed: Signed<MountRequest>): Promise<void> {
  const { name, target } = signed.request;
  const workflowId = mountWorkflowId(CLUSTER, target.namespace, name);
  await client.workflow.start(WORKFLOWS.mount, { workflowId, taskQueue: controlQueue(CLUSTER), args: [signed] });
}

/** Resolves when a mount tells that there is no free device for it. */
export async function waits(harness: Harness, name: string): Promise<void> {
  await eventually(async () => JSON.stringify((await harness.handle(name).describe()).memo).includes('1 Insufficient'));
}
