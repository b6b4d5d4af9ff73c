import type { WorkflowExecutionDescription, WorkflowExecutionInfo } from '@temporalio/client';
import type { DeviceMount } from '../contract/device-mount.ts';
import { MOUNT_MEMO, WORKFLOWS } from '../contract/workflows.ts';

type Info = WorkflowExecutionInfo | WorkflowExecutionDescription;

/** The mount in the memo of its workflow; undefined for a workflow that somebody else has started. */
export function mountOfWorkflow(info: Info): DeviceMount | undefined {
  // The memo is written by the apiserver and the workflow only, in this form.
  const mount = info.memo?.[MOUNT_MEMO] as DeviceMount | undefined;
  if (info.type !== WORKFLOWS.mount || mount === undefined) return undefined;
  // Before the workflow's first step the memo is what the apiserver could know.
  const uid = mount.metadata.uid === '' ? info.runId : mount.metadata.uid;
  return closed({ ...mount, metadata: { ...mount.metadata, uid } }, info);
}

/** A workflow that was terminated, or cancelled before its first step, could not write down its own end. */
function closed(mount: DeviceMount, { closeTime, status: { name } }: Info): DeviceMount {
  const { metadata, status } = mount;
  const knowsItsEnd = status.phase === 'Released' || status.phase === 'Failed';
  if (closeTime === undefined || name === 'CONTINUED_AS_NEW' || knowsItsEnd) return mount;
  const resourceVersion = String(Math.max(Number(metadata.resourceVersion) + 1, closeTime.getTime()));
  const message = 'Its workflow was ended from outside; what it has left is freed by the reconciler';
  return {
    ...mount,
    metadata: { ...metadata, resourceVersion },
    status: { ...status, phase: 'Failed', reason: name === 'CANCELLED' ? 'Canceled' : 'Terminated', message },
  };
}
