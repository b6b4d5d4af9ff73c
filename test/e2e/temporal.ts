import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client, Connection, type WorkflowExecutionStatusName, WorkflowNotFoundError } from '@temporalio/client';
import type { DeviceMount } from '../../contract/device-mount.ts';
import { mountWorkflowId } from '../../contract/names.ts';
import { MOUNT_MEMO } from '../../contract/workflows.ts';
import { CLUSTER_NAME } from '../../deploy/local/addresses.ts';
import { CLUSTER } from './cluster.ts';
import { NAMESPACE } from './lane.ts';
import { until } from './until.ts';

const execFileAsync = promisify(execFile);

/** A mount's workflow as Temporal describes it. */
export interface MountWorkflow {
  readonly status: WorkflowExecutionStatusName;
  readonly runId: string;
  readonly mount: DeviceMount | undefined;
}

/** The cluster's Temporal, as any client with an address sees it. */
export class Temporal {
  readonly client: Client;
  readonly #connection: Connection;

  constructor() {
    this.#connection = Connection.lazy({ address: CLUSTER.temporalAddress });
    this.client = new Client({ connection: this.#connection });
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  /** `undefined` when Temporal knows none. */
  async workflowOf(name: string, namespace = NAMESPACE): Promise<MountWorkflow | undefined> {
    try {
      const handle = this.client.workflow.getHandle(mountWorkflowId(CLUSTER_NAME, namespace, name));
      const { status, runId, memo } = await handle.describe();
      return { status: status.name, runId, mount: memo?.[MOUNT_MEMO] as DeviceMount | undefined };
    } catch (err) {
      if (err instanceof WorkflowNotFoundError) return undefined;
      throw err;
    }
  }

  /** Waits until the mount's workflow is no longer open. */
  closed(name: string, namespace = NAMESPACE, timeoutMs?: number): Promise<MountWorkflow> {
    return until(
      `the workflow of ${namespace}/${name} to close`,
      async () => {
        const workflow = await this.workflowOf(name, namespace);
        return workflow?.status === 'RUNNING' ? undefined : workflow;
      },
      timeoutMs,
    );
  }
}

/** Runs Temporal's own command line on the cluster's Temporal and answers its output. */
export async function temporalCli(...args: readonly string[]): Promise<string> {
  const command = join(CLUSTER.tools.temporal, 'temporal');
  const { stdout } = await execFileAsync(command, [...args, '--address', CLUSTER.temporalAddress]);
  return stdout;
}
