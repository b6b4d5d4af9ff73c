import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import type { DeviceMount } from '../contract/device-mount.ts';
import { mountWorkflowId, SEARCH_ATTRIBUTES } from '../contract/names.ts';
import { MOUNT_MEMO, WORKFLOWS } from '../contract/workflows.ts';

/** A mount's workflow. */
export interface Owner {
  readonly open: boolean;
  /** Absent in the moment between its start and its first step. */
  readonly mount?: DeviceMount;
}

/** The workflows that own mounts. */
export interface Owners {
  /** The truth about one, or `undefined` when there never was one. */
  describe(namespace: string, name: string): Promise<Owner | undefined>;
  /** Open mounts of a pod by Temporal's visibility store, which may lag by seconds. */
  ofPod(namespace: string, pod: string): Promise<readonly DeviceMount[]>;
  /** Answers false when no open workflow owns the mount. */
  signal(namespace: string, name: string, signal: string, ...args: unknown[]): Promise<boolean>;
}

/** Those in the Temporal namespace of `client`. */
export function temporalOwners(client: Client): Owners {
  return {
    async describe(namespace: string, name: string): Promise<Owner | undefined> {
      try {
        const { status, memo } = await client.workflow.getHandle(mountWorkflowId(namespace, name)).describe();
        const mount = mountOf(memo);
        return { open: status.name === 'RUNNING', ...(mount !== undefined && { mount }) };
      } catch (err) {
        if (err instanceof WorkflowNotFoundError) return undefined;
        throw err;
      }
    },
    async ofPod(namespace: string, pod: string): Promise<readonly DeviceMount[]> {
      const query = [
        `WorkflowType = "${WORKFLOWS.mount}"`,
        'ExecutionStatus = "Running"',
        `${SEARCH_ATTRIBUTES.namespace} = "${namespace}"`,
        `${SEARCH_ATTRIBUTES.pod} = "${pod}"`,
      ].join(' AND ');
      const mounts: DeviceMount[] = [];
      for await (const { memo } of client.workflow.list({ query })) {
        const mount = mountOf(memo);
        if (mount !== undefined) mounts.push(mount);
      }
      return mounts;
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

function mountOf(memo: Readonly<Record<string, unknown>> | undefined): DeviceMount | undefined {
  return memo?.[MOUNT_MEMO] as DeviceMount | undefined;
}
