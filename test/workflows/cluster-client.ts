import { randomUUID } from 'node:crypto';
import { type Client, WithStartWorkflowOperation, WorkflowUpdateRPCTimeoutOrCancelledError } from '@temporalio/client';
import { type Owners, temporalOwners } from '../../activities/owners.ts';
import { TemporalMounts } from '../../apiserver/mounts/temporal-mounts.ts';
import type { DeviceMount, DeviceMountList } from '../../contract/device-mount.ts';
import { controlQueue, mountWorkflowId, unmountWorkflowId } from '../../contract/names.ts';
import type { MountRequest, Signed, UnmountRequest } from '../../contract/requests.ts';
import { QUERIES, type ReconcileInput, type ReconcileReport, UPDATES, WORKFLOWS } from '../../contract/workflows.ts';
import { ClusterClaim } from '../../process/cluster-claim.ts';
import type { ClusterIdentity } from '../../process/cluster-identity.ts';
import { eventually } from './outcome.ts';
import { NAMESPACE } from './requests.ts';

/** Asks again as long as Temporal does not answer in time, as on a busy machine: it knows what it was asked by the id of the update. */
export async function untilAnswered<T>(ask: (updateId: string) => Promise<T>): Promise<T> {
  const updateId = randomUUID();
  for (;;) {
    try {
      return await ask(updateId);
    } catch (err) {
      if (!(err instanceof WorkflowUpdateRPCTimeoutOrCancelledError)) throw err;
    }
  }
}

/** The workflows of one cluster, as their clients reach them. */
export class ClusterClient {
  readonly client: Client;
  readonly identity: ClusterIdentity;

  constructor(client: Client, identity: ClusterIdentity) {
    this.client = client;
    this.identity = identity;
  }

  /** Of workflows and cluster activities. */
  get queue(): string {
    return controlQueue(this.identity.name);
  }

  get owners(): Owners {
    return temporalOwners(this.client, this.identity.name);
  }

  claim({ connection, options } = this.client): ClusterClaim {
    return new ClusterClaim(async () => this.identity, { connection, namespace: options.namespace });
  }

  /** As an apiserver has them. */
  mounts(client = this.client): TemporalMounts {
    return new TemporalMounts(client, this.claim(client));
  }

  /** Starts a mount and waits until it is mounted or has failed, as the apiserver does. */
  async mount(signed: Signed<MountRequest>): Promise<DeviceMount> {
    const { name, target } = signed.request;
    return untilAnswered((updateId) => {
      const startWorkflowOperation = new WithStartWorkflowOperation(WORKFLOWS.mount, {
        workflowId: mountWorkflowId(this.identity.name, target.namespace, name),
        taskQueue: this.queue,
        args: [signed],
        workflowIdConflictPolicy: 'USE_EXISTING',
      });
      return this.client.workflow.executeUpdateWithStart(UPDATES.mounted, { startWorkflowOperation, updateId });
    });
  }

  async unmount(signed: Signed<UnmountRequest>): Promise<DeviceMountList> {
    const { id, target } = signed.request;
    return untilAnswered((updateId) => {
      const startWorkflowOperation = new WithStartWorkflowOperation(WORKFLOWS.unmount, {
        workflowId: unmountWorkflowId(this.identity.name, target.namespace, id),
        taskQueue: this.queue,
        args: [signed],
        workflowIdConflictPolicy: 'USE_EXISTING',
      });
      return this.client.workflow.executeUpdateWithStart(UPDATES.released, { startWorkflowOperation, updateId });
    });
  }

  /** One run of the reconciler. */
  async reconcile(input: ReconcileInput = {}, workflowId = `reconcile/${randomUUID()}`): Promise<ReconcileReport> {
    return this.client.workflow.execute(WORKFLOWS.reconcile, {
      workflowId,
      taskQueue: this.queue,
      args: [input],
    });
  }

  /** What a run of the reconciler finds about these mounts: others of a test file may be changing at that moment. */
  async findingsOf(...mounts: readonly string[]): Promise<ReconcileReport['findings']> {
    const { findings } = await this.reconcile();
    return findings.filter(({ mount }) => mounts.includes(mount));
  }

  /** Begins a mount's workflow anew at its first step. */
  async reset(name: string): Promise<void> {
    const { events } = await this.handle(name).fetchHistory();
    const first = events?.find(({ workflowTaskCompletedEventAttributes: completed }) => completed);
    await this.client.workflowService.resetWorkflowExecution({
      namespace: 'default',
      workflowExecution: { workflowId: mountWorkflowId(this.identity.name, NAMESPACE, name) },
      reason: 'test',
      workflowTaskFinishEventId: first?.eventId ?? null,
      requestId: randomUUID(),
    });
  }

  handle(name: string) {
    return this.client.workflow.getHandle(mountWorkflowId(this.identity.name, NAMESPACE, name));
  }

  /** A mount as its workflow has it, with its own UID, that of its object left out. */
  recordOf(name: string): Promise<DeviceMount> {
    return this.handle(name).query<DeviceMount>(QUERIES.deviceMount);
  }

  /** Types of the steps that a mount's workflow has scheduled and that have not ended. */
  async pendingSteps(name: string): Promise<readonly string[]> {
    const { raw } = await this.handle(name).describe();
    return (raw.pendingActivities ?? []).map(({ activityType }) => activityType?.name ?? '');
  }

  /** How often callers have asked the workflow of a mount, with one update each. */
  async updatesOf(name: string): Promise<number> {
    const { events } = await this.handle(name).fetchHistory();
    return (events ?? []).filter((event) => event.workflowExecutionUpdateAcceptedEventAttributes).length;
  }

  async statusOf(name: string): Promise<string> {
    return (await this.handle(name).describe()).status.name;
  }

  /** Resolves when a mount's workflow has closed: it does nothing any more, and neither is anything left to do. */
  async closed(name: string): Promise<void> {
    await eventually(async () => (await this.statusOf(name)) !== 'RUNNING');
  }
}
