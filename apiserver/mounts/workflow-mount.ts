import type { WorkflowExecutionDescription, WorkflowExecutionInfo } from '@temporalio/client';
import { closedMount } from '../../contract/closed-mount.ts';
import type { DeviceMount } from '../../contract/device-mount.ts';
import { MOUNT_MEMO, WORKFLOWS } from '../../contract/workflows.ts';

type Info = WorkflowExecutionInfo | WorkflowExecutionDescription;

/** The mount in the memo of its workflow; undefined for a workflow that somebody else has started. */
export function mountOfWorkflow(info: Info): DeviceMount | undefined {
  // The memo is written by the apiserver and the workflow only, in this form.
  const mount = info.memo?.[MOUNT_MEMO] as DeviceMount | undefined;
  if (info.type !== WORKFLOWS.mount || mount === undefined) return undefined;
  // Before the workflow's first step the memo is what the apiserver could know.
  const uid = mount.metadata.uid === '' ? info.runId : mount.metadata.uid;
  return closedMount({ ...mount, metadata: { ...mount.metadata, uid } }, info);
}
