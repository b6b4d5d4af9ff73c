import type { WorkflowStartOptions } from '@temporalio/client';
import { defineSearchAttributeKey, type SearchAttributePair } from '@temporalio/common';
import { FINGERPRINT_MEMO } from '../../contract/fingerprint.ts';
import { controlQueue, mountWorkflowId, SEARCH_ATTRIBUTES, unmountWorkflowId } from '../../contract/names.ts';
import type { Target } from '../../contract/requests.ts';
import { MOUNT_MEMO, type UnmountInput } from '../../contract/workflows.ts';
import type { NewMount } from './mounts.ts';

export type Start = WorkflowStartOptions & { readonly workflowIdConflictPolicy: 'FAIL' };

/**
 * How the workflow of a mount is started. Its ID is the lock on the name: a mount of the same name, even one that has ended, is looked at
 * before another may take its place, so that a repeated request never joins a mount that it has not asked for.
 */
export function mountStartOptions({ input, first, fingerprint }: NewMount, mayReplace: boolean): Start {
  const { cluster, name, target, deviceType, user } = input.request;
  const { node, phase } = first.status;
  return {
    workflowId: mountWorkflowId(cluster, target.namespace, name),
    workflowIdConflictPolicy: 'FAIL',
    workflowIdReusePolicy: mayReplace ? 'ALLOW_DUPLICATE' : 'REJECT_DUPLICATE',
    taskQueue: controlQueue(cluster),
    args: [input],
    staticSummary: `mount ${deviceType} for ${containerOf(target)}`,
    memo: { [MOUNT_MEMO]: first, [FINGERPRINT_MEMO]: fingerprint },
    typedSearchAttributes: [
      keyword('cluster', cluster),
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
  const { cluster, id, target, deviceType, user } = input.request;
  return {
    workflowId: unmountWorkflowId(cluster, target.namespace, id),
    workflowIdConflictPolicy: 'FAIL',
    taskQueue: controlQueue(cluster),
    args: [input],
    staticSummary: `unmount ${deviceType} from ${containerOf(target)}`,
    typedSearchAttributes: [
      keyword('cluster', cluster),
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
