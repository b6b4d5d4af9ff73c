import { type Client, WorkflowExecutionAlreadyStartedError, WorkflowNotFoundError } from '@temporalio/client';
import type { DeviceMount } from '../contract/device-mount.ts';
import { FINGERPRINT_MEMO, fingerprintOf } from '../contract/fingerprint.ts';
import { CONTROL_QUEUE, mountWorkflowId, SEARCH_ATTRIBUTES } from '../contract/names.ts';
import type { MountRequest, Signed } from '../contract/requests.ts';
import { MOUNT_MEMO, SIGNATURE_MEMO, WORKFLOWS } from '../contract/workflows.ts';

/** A mount's workflow. */
export interface Owner {
  readonly open: boolean;
  /** Of the chain of its runs: kept over reset and continue-as-new. */
  readonly firstRunId: string;
  /** Absent in the moment between its start and its first step. */
  readonly mount?: DeviceMount;
}

/** The workflows that own mounts. */
export interface Owners {
  /** The truth about one, or `undefined` when there never was one. */
  describe(namespace: string, name: string): Promise<Owner | undefined>;
  /** Open mounts of a pod by Temporal's visibility store, which may lag by seconds. */
  ofPod(namespace: string, pod: string): Promise<readonly DeviceMount[]>;
  /** All open mounts, by the same store. */
  all(): Promise<readonly DeviceMount[]>;
  /** Whether another mount than that of `firstRunId` was made by exactly this request, by the same store. */
  usedBefore(signed: Signed<MountRequest>, firstRunId: string): Promise<boolean>;
  /** Starts an owner for a mount that is there. Answers false when it has one. */
  adopt(signed: Signed<MountRequest>, mount: DeviceMount): Promise<boolean>;
  /** Answers false when no open workflow owns the mount. */
  signal(namespace: string, name: string, signal: string, ...args: unknown[]): Promise<boolean>;
}

/** Those in the Temporal namespace of `client`. */
export function temporalOwners(client: Client): Owners {
  return {
    async describe(namespace: string, name: string): Promise<Owner | undefined> {
      try {
        const { status, memo, raw } = await client.workflow.getHandle(mountWorkflowId(namespace, name)).describe();
        const mount = mountOf(memo);
        const firstRunId = raw.workflowExecutionInfo?.firstRunId ?? '';
        return { open: status.name === 'RUNNING', firstRunId, ...(mount !== undefined && { mount }) };
      } catch (err) {
        if (err instanceof WorkflowNotFoundError) return undefined;
        throw err;
      }
    },
    ofPod: (namespace: string, pod: string): Promise<readonly DeviceMount[]> =>
      openMounts(client, [`${SEARCH_ATTRIBUTES.namespace} = "${namespace}"`, `${SEARCH_ATTRIBUTES.pod} = "${pod}"`]),
    all: (): Promise<readonly DeviceMount[]> => openMounts(client, []),
    async usedBefore({ request, signature }: Signed<MountRequest>, firstRunId: string): Promise<boolean> {
      const query = `WorkflowId = "${mountWorkflowId(request.target.namespace, request.name)}"`;
      for await (const { memo } of client.workflow.list({ query })) {
        // The store does not tell the first run of a chain; the mount does.
        if (memo?.[SIGNATURE_MEMO] === signature && mountOf(memo)?.metadata.uid !== firstRunId) return true;
      }
      return false;
    },
    async adopt(signed: Signed<MountRequest>, mount: DeviceMount): Promise<boolean> {
      const { namespace, name } = mount.metadata;
      try {
        await client.workflow.start(WORKFLOWS.mount, {
          workflowId: mountWorkflowId(namespace, name),
          workflowIdConflictPolicy: 'FAIL',
          taskQueue: CONTROL_QUEUE,
          args: [signed, mount],
          // As if its name had been chosen: then who repeats the request finds this mount.
          memo: { [FINGERPRINT_MEMO]: fingerprintOf(signed.request, true) },
          staticSummary: `adopt mount for \`${mount.spec.podName}/${mount.spec.container}\``,
        });
        return true;
      } catch (err) {
        if (err instanceof WorkflowExecutionAlreadyStartedError) return false;
        throw err;
      }
    },
    async signal(namespace: string, name: string, signal: string, ...args: unknown[]): Promise<boolean> {
      try {
        await client.workflow.getHandle(mountWorkflowId(namespace, name)).signal(signal, ...args);
        return true;
      } catch (err) {
        if (err instanceof WorkflowNotFoundError) return false;
        throw err;
      }
    },
  };
}

async function openMounts(client: Client, more: readonly string[]): Promise<readonly DeviceMount[]> {
  const query = [`WorkflowType = "${WORKFLOWS.mount}"`, 'ExecutionStatus = "Running"', ...more].join(' AND ');
  const mounts: DeviceMount[] = [];
  for await (const { memo } of client.workflow.list({ query })) {
    const mount = mountOf(memo);
    if (mount !== undefined) mounts.push(mount);
  }
  return mounts;
}

function mountOf(memo: Readonly<Record<string, unknown>> | undefined): DeviceMount | undefined {
  return memo?.[MOUNT_MEMO] as DeviceMount | undefined;
}
