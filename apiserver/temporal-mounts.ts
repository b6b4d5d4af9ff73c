import { setTimeout as delay } from 'node:timers/promises';
import {
  type Client,
  WithStartWorkflowOperation,
  WorkflowExecutionAlreadyStartedError,
  type WorkflowExecutionDescription,
  type WorkflowExecutionInfo,
  WorkflowNotFoundError,
  type WorkflowUpdateHandle,
  WorkflowUpdateRPCTimeoutOrCancelledError,
} from '@temporalio/client';
import type { Workflow } from '@temporalio/common';
import type { DeviceMount, DeviceMountList } from '../contract/device-mount.ts';
import { fail } from '../contract/failures.ts';
import { GROUP_VERSION, mountWorkflowId } from '../contract/names.ts';
import {
  MOUNT_MEMO,
  type MountedResult,
  type MountInput,
  type ReleasedResult,
  type UnmountInput,
  UPDATES,
  WORKFLOWS,
} from '../contract/workflows.ts';
import type { MountAnswer, Mounts, UnmountAnswer } from './mounts.ts';
import { mountStartOptions, type Start, unmountStartOptions } from './start-options.ts';
import { isAbsence, withoutTemporal } from './temporal-connection.ts';

/** A call that only reads or starts. Temporal answers it in milliseconds. */
const CALL_MS = 3_000;
/** A mount that misses its deadline answers by itself within this time; when it does not, nobody works on it. */
const UNDO_PATIENCE_MS = 5_000;
/** Pause before an answer is asked for again after Temporal was gone. */
const RETRY_MS = 250;
/** How long an ended mount is listed. By its name it is found as long as Temporal keeps it. */
const LISTED_AFTER_END_MS = 10 * 60_000;

/** The mounts as Temporal keeps them: each is an open workflow. */
export class TemporalMounts implements Mounts {
  readonly #client: Client;

  constructor(client: Client) {
    this.#client = client;
  }

  async check(): Promise<void> {
    const { workflowService } = this.#client.connection;
    const { namespace } = this.#client.options;
    await this.#call(() => workflowService.describeNamespace({ namespace }), 'nothing was begun');
  }

  async mount(input: MountInput, first: DeviceMount, patienceMs: number): Promise<MountAnswer> {
    const { name, target, deadlineSeconds } = input.request;
    const start = mountStartOptions(input, first);
    const enoughMs = deadlineSeconds * 1_000 + UNDO_PATIENCE_MS;
    const mount = await this.#startAndWait<MountedResult>(
      WORKFLOWS.mount,
      start,
      UPDATES.mounted,
      Math.min(patienceMs, enoughMs),
    );
    if (mount !== undefined) return { state: 'mounted', mount };
    if (patienceMs > enoughMs) {
      const message = `Cannot mount "${name}": it must be mounted within ${deadlineSeconds} s, is not`;
      throw fail('Timeout', message, undefined, [
        { reason: 'RollingBack', message: 'what was begun is still being undone' },
      ]);
    }
    return { state: 'pending', mount: (await this.get(target.namespace, name)) ?? first };
  }

  async unmount(input: UnmountInput, patienceMs: number): Promise<UnmountAnswer> {
    const { target, deviceType } = input.request;
    const start = unmountStartOptions(input);
    const released = await this.#startAndWait<ReleasedResult>(WORKFLOWS.unmount, start, UPDATES.released, patienceMs);
    if (released !== undefined) return { state: 'released', list: released };
    const list = await this.list(target.namespace);
    const items = list.items.filter(
      ({ spec, status }) =>
        spec.podUid === target.podUid &&
        spec.deviceType === deviceType &&
        status.phase !== 'Released' &&
        status.phase !== 'Failed',
    );
    return { state: 'releasing', list: { ...list, items } };
  }

  async get(namespace: string, name: string): Promise<DeviceMount | undefined> {
    const handle = this.#client.workflow.getHandle(mountWorkflowId(namespace, name));
    try {
      return mountOf(await this.#call(() => handle.describe(), 'mounts cannot be read'));
    } catch (err) {
      if (err instanceof WorkflowNotFoundError) return undefined;
      throw err;
    }
  }

  async list(namespace: string | undefined): Promise<DeviceMountList> {
    const since = new Date(Date.now() - LISTED_AFTER_END_MS).toISOString();
    const query = [
      `WorkflowType = '${WORKFLOWS.mount}'`,
      `ExecutionStatus != 'ContinuedAsNew'`,
      `(ExecutionStatus = 'Running' OR CloseTime > '${since}')`,
      ...(namespace === undefined ? [] : [`MountNamespace = '${namespace}'`]),
    ].join(' AND ');
    const resourceVersion = String(Date.now());
    const found = await this.#call(
      () => Array.fromAsync(this.#client.workflow.list({ query })),
      'mounts cannot be read',
    );
    // A name may have been used again: its latest mount is the one that `get` finds.
    const latest = new Map<string, WorkflowExecutionInfo>();
    for (const info of found.toSorted((a, b) => a.startTime.getTime() - b.startTime.getTime()))
      latest.set(info.workflowId, info);
    const items = [...latest.values()].flatMap((info) => mountOf(info) ?? []);
    return {
      apiVersion: GROUP_VERSION,
      kind: 'DeviceMountList',
      metadata: { resourceVersion },
      items: items.toSorted(byName),
    };
  }

  /** Starts a workflow and waits for its update; undefined when that takes longer than `patienceMs`, or it is 0. */
  async #startAndWait<Result>(
    type: string,
    start: Start,
    update: string,
    patienceMs: number,
  ): Promise<Result | undefined> {
    const until = Date.now() + patienceMs;
    try {
      if (patienceMs === 0) {
        await this.#call(
          () => this.#client.workflow.start(type, start),
          'the request may have been taken all the same',
        );
        return undefined;
      }
      const startWorkflowOperation = new WithStartWorkflowOperation(type, start);
      const handle = await this.#client.connection.withDeadline(until, () =>
        this.#client.workflow.startUpdateWithStart<Workflow, Result, []>(update, {
          startWorkflowOperation,
          waitForStage: 'ACCEPTED',
        }),
      );
      return await this.#resultOf(handle, until);
    } catch (err) {
      if (err instanceof WorkflowUpdateRPCTimeoutOrCancelledError) return undefined;
      if (err instanceof WorkflowExecutionAlreadyStartedError) {
        throw fail(
          'NameTaken',
          `Cannot mount "${start.workflowId.split('/').at(-1)}": the name must be free, is taken`,
          err,
        );
      }
      throw withoutTemporal(err, 'the request may have been taken all the same');
    }
  }

  /** The update is durable once it was accepted, so that its result is worth waiting for while Temporal restarts. */
  async #resultOf<Result>(handle: WorkflowUpdateHandle<Result>, until: number): Promise<Result> {
    for (;;) {
      try {
        return await this.#client.connection.withDeadline(until, () => handle.result());
      } catch (err) {
        const late = err instanceof WorkflowUpdateRPCTimeoutOrCancelledError || Date.now() + RETRY_MS >= until;
        if (late || !isAbsence(err)) throw err;
        await delay(RETRY_MS);
      }
    }
  }

  async #call<Result>(call: () => Promise<Result>, consequence: string): Promise<Result> {
    try {
      return await this.#client.connection.withDeadline(Date.now() + CALL_MS, call);
    } catch (err) {
      throw withoutTemporal(err, consequence);
    }
  }
}

/** The mount in the memo of its workflow; undefined for a workflow that somebody else has started. */
function mountOf(info: WorkflowExecutionInfo | WorkflowExecutionDescription): DeviceMount | undefined {
  // The memo is written by the apiserver and the workflow only, in this form.
  const mount = info.memo?.[MOUNT_MEMO] as DeviceMount | undefined;
  if (info.type !== WORKFLOWS.mount || mount === undefined) return undefined;
  // Before the workflow's first step the memo is what the apiserver could know.
  if (mount.metadata.uid !== '') return mount;
  return { ...mount, metadata: { ...mount.metadata, uid: info.runId } };
}

function byName({ metadata: a }: DeviceMount, { metadata: b }: DeviceMount): number {
  return a.namespace.localeCompare(b.namespace) || a.name.localeCompare(b.name);
}
