import type { WorkflowStartOptions } from '@temporalio/client';
import { defineSearchAttributeKey, type SearchAttributePair } from '@temporalio/common';
import type { DeviceMount } from '../contract/device-mount.ts';
import { CONTROL_QUEUE, mountWorkflowId, SEARCH_ATTRIBUTES, unmountWorkflowId } from '../contract/names.ts';
import type { Target } from '../contract/requests.ts';
import { MOUNT_MEMO, type MountInput, type UnmountInput } from '../contract/workflows.ts';

export type Start = WorkflowStartOptions & { readonly workflowIdConflictPolicy: 'FAIL' };

/** How the workflow of a mount is started. Its ID is the lock on the name. */
export function mountStartOptions(input: MountInput, first: DeviceMount): Start {
  const { name, target, deviceType, user } = input.request;
  const { node, phase } = first.status;
  return {
    workflowId: mountWorkflowId(target.namespace, name),
    workflowIdConflictPolicy: 'FAIL',
    taskQueue: CONTROL_QUEUE,
    args: [input],
    staticSummary: `mount ${deviceType} for ${containerOf(target)}`,
    memo: { [MOUNT_MEMO]: first },
    typedSearchAttributes: [
      keyword('namespace', target.namespace),
      keyword('pod', target.pod),
      keyword('deviceType', deviceType),
      keyword('user', user.name),
      keyword('phase', phase),
      ...(node === undefined ? [] : [keyword('node', node)]),
    ],
  };
}

export function unmountStartOptions(input: UnmountInput): Start {
  const { id, target, deviceType, user } = input.request;
  return {
    workflowId: unmountWorkflowId(target.namespace, id),
    workflowIdConflictPolicy: 'FAIL',
    taskQueue: CONTROL_QUEUE,
    args: [input],
    staticSummary: `unmount ${deviceType} from ${containerOf(target)}`,
    typedSearchAttributes: [
      keyword('namespace', target.namespace),
      keyword('pod', target.pod),
      keyword('deviceType', deviceType),
      keyword('user', user.name),
    ],
  };
}

/** Temporal shows summaries as Markdown: code marks keep names as they are. */
function containerOf({ pod, container }: Target): string {
  return `\`${pod}/${container}\``;
}

function keyword(name: keyof typeof SEARCH_ATTRIBUTES, value: string): SearchAttributePair {
  return { key: defineSearchAttributeKey(SEARCH_ATTRIBUTES[name], 'KEYWORD'), value };
}
