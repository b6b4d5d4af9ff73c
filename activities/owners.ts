import {
  type Client,
  WorkflowExecutionAlreadyStartedError,
  type WorkflowExecutionInfo,
  type WorkflowHandle,
  WorkflowNotFoundError,
} from '@temporalio/client';
import { closedMount } from '../contract/closed-mount.ts';
import type { DeviceMount } from '../contract/device-mount.ts';
import { FINGERPRINT_MEMO, fingerprintOf } from '../contract/fingerprint.ts';
import { controlQueue, mountWorkflowId, SEARCH_ATTRIBUTES } from '../contract/names.ts';
import type { MountRequest, Signed } from '../contract/requests.ts';
import { MOUNT_MEMO, QUERIES, WORKFLOWS } from '../contract/workflows.ts';

/** Each brings its memo of some KiB. */
const PAGE_SIZE = 200;

/** A mount's workflow. */
export interface Owner {
  readonly open: boolean;
  /** Of the chain of its runs: kept over reset and continue-as-new. */
  readonly firstRunId: string;
  /** With its end, when it is closed. Absent until its first step when whoever started it gave none: `ask` it. */
  readonly mount?: DeviceMount;
}

/** The workflows that own mounts. */
export interface Owners {
  /** The truth about one, or `undefined` when there never was one. */
  describe(namespace: string, name: string): Promise<Owner | undefined>;
  /** The mount by the word of its workflow, which answers from its first step on; `undefined` when there is none. */
  ask(namespace: string, name: string): Promise<DeviceMount | undefined>;
  /** Names of a pod's open mounts by Temporal's visibility store, which may lag by seconds. */
  ofPod(namespace: string, pod: string): Promise<readonly string[]>;
  /** All open mounts, by the same store, of which some hundreds are held at a time. */
  all(): AsyncIterable<DeviceMount>;
  /** Starts an owner for a mount that is there. Answers false when it has one. */
  adopt(signed: Signed<MountRequest>, mount: DeviceMount): Promise<boolean>;
  /** Answers false when no open workflow owns the mount. */
  signal(namespace: string, name: string, signal: string, ...args: unknown[]): Promise<boolean>;
}

/** Those of `cluster` in the Temporal namespace of `client`. */
export function temporalOwners(client: Client, cluster: string): Owners {
  const handleOf = (namespace: string, name: string) =>
    client.workflow.getHandle(mountWorkflowId(cluster, namespace, name));
  return {
    describe: (namespace, name) => describe(handleOf(namespace, name)),
    ask: (namespace, name) => ask(handleOf(namespace, name)),
    async ofPod(namespace: string, pod: string): Promise<readonly string[]> {
      const of = [`${SEARCH_ATTRIBUTES.namespace} = "${namespace}"`, `${SEARCH_ATTRIBUTES.pod} = "${pod}"`];
      const open = await Array.fromAsync(openWorkflows(client, cluster, of));
      return open.map(({ workflowId }) => workflowId.slice(mountWorkflowId(cluster, namespace, '').length));
    },
    async *all(): AsyncIterable<DeviceMount> {
      for await (const { memo } of openWorkflows(client, cluster)) {
        const mount = mountIn(memo);
        if (mount !== undefined) yield mount;
      }
    },
    async adopt(signed: Signed<MountRequest>, mount: DeviceMount): Promise<boolean> {
      const { namespace, name } = mount.metadata;
      try {
        await client.workflow.start(WORKFLOWS.mount, {
          workflowId: mountWorkflowId(cluster, namespace, name),
          workflowIdConflictPolicy: 'FAIL',
          taskQueue: controlQueue(cluster),
          args: [signed, mount],
          // As if its name had been chosen: then who repeats the request finds this mount.
          memo: {
            [FINGERPRINT_MEMO]: fingerprintOf(signed.request, true),
            [MOUNT_MEMO]: mount,
          },
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
        await handleOf(namespace, name).signal(signal, ...args);
        return true;
      } catch (err) {
        if (err instanceof WorkflowNotFoundError) return false;
        throw err;
      }
    },
  };
}

async function describe(handle: WorkflowHandle): Promise<Owner | undefined> {
  try {
    const { status, closeTime, memo, raw } = await handle.describe();
    const mount = mountIn(memo);
    const firstRunId = raw.workflowExecutionInfo?.firstRunId ?? '';
    const closed = mount && { mount: closedMount(mount, { status, closeTime }) };
    return { open: status.name === 'RUNNING', firstRunId, ...closed };
  } catch (err) {
    if (err instanceof WorkflowNotFoundError) return undefined;
    throw err;
  }
}

async function ask(handle: WorkflowHandle): Promise<DeviceMount | undefined> {
  try {
    return await handle.query<DeviceMount>(QUERIES.deviceMount);
  } catch (err) {
    if (err instanceof WorkflowNotFoundError) return undefined;
    throw err;
  }
}

function openWorkflows(
  client: Client,
  cluster: string,
  more: readonly string[] = [],
): AsyncIterable<WorkflowExecutionInfo> {
  const open = [`WorkflowType = "${WORKFLOWS.mount}"`, 'ExecutionStatus = "Running"'];
  const query = [...open, `${SEARCH_ATTRIBUTES.cluster} = "${cluster}"`, ...more].join(' AND ');
  return client.workflow.list({ query, pageSize: PAGE_SIZE });
}

function mountIn(memo: Readonly<Record<string, unknown>> | undefined): DeviceMount | undefined {
  return memo?.[MOUNT_MEMO] as DeviceMount | undefined;
}
