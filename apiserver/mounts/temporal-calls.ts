import { setTimeout as delay } from 'node:timers/promises';
import {
  type Client,
  type WithStartWorkflowOperation,
  WorkflowNotFoundError,
  type WorkflowUpdateHandle,
  WorkflowUpdateRPCTimeoutOrCancelledError,
} from '@temporalio/client';
import type { Workflow } from '@temporalio/common';
import type { ClusterClaim } from '../../process/cluster-claim.ts';
import type { Start } from './start-options.ts';
import { isAbsence, withoutTemporal } from './temporal-connection.ts';

/** A call that only reads or starts. Temporal answers it in milliseconds; among hundreds at once on a small machine, in seconds. */
const CALL_MS = 10_000;
/** Pause before an answer is asked for again after Temporal was gone. */
const RETRY_MS = 250;
export const MAYBE_TAKEN = 'the request may have been taken all the same';

/** What an update has answered. */
export interface Answered<Result> {
  readonly result: Result;
  /** Of the workflow that has taken the update. */
  readonly runId: string | undefined;
}

/**
 * Temporal with deadlines: every call ends, with `TemporalUnavailable` when nobody was there, or when the name of this cluster is another's
 * there.
 */
export class TemporalCalls {
  readonly client: Client;
  readonly #claim: ClusterClaim;

  constructor(client: Client, claim: ClusterClaim) {
    this.client = client;
    this.#claim = claim;
  }

  /** @throws TemporalUnavailable */
  async call<Result>(call: () => Promise<Result>, consequence: string): Promise<Result> {
    try {
      return await this.client.connection.withDeadline(Date.now() + CALL_MS, async () => {
        await this.#claim.claim();
        return call();
      });
    } catch (err) {
      throw withoutTemporal(err, consequence);
    }
  }

  async start(type: string, start: Start): Promise<void> {
    await this.call(() => this.client.workflow.start(type, start), MAYBE_TAKEN);
  }

  /** Starts a workflow and waits for its update, which is told how long; undefined when that takes longer than `patienceMs`. */
  async startAndWait<Result>(
    operation: WithStartWorkflowOperation<Workflow>,
    update: string,
    patienceMs: number,
    args: [patienceMs?: number] = [],
  ): Promise<Answered<Result> | undefined> {
    return this.#wait(patienceMs, () =>
      this.client.workflow.startUpdateWithStart<Workflow, Result, [patienceMs?: number]>(update, {
        startWorkflowOperation: operation,
        args,
        waitForStage: 'ACCEPTED',
      }),
    );
  }

  /**
   * Waits for an update of a workflow that runs; undefined as in `startAndWait`, or when it has ended in the meantime. All who wait with
   * the same `updateId` share one update, since a workflow takes only some at a time. A start must not use such an ID: Temporal would
   * answer with the update of the mount that is there, instead of telling that the name is taken.
   */
  async wait<Result>(
    workflowId: string,
    update: string,
    patienceMs: number,
    updateId = update,
  ): Promise<Result | undefined> {
    const handle = this.client.workflow.getHandle(workflowId);
    try {
      const answered = await this.#wait(patienceMs, () =>
        handle.startUpdate<Result, []>(update, { updateId, waitForStage: 'ACCEPTED', args: [] }),
      );
      return answered?.result;
    } catch (err) {
      if (err instanceof WorkflowNotFoundError) return undefined;
      throw err;
    }
  }

  async #wait<Result>(
    patienceMs: number,
    begin: () => Promise<WorkflowUpdateHandle<Result>>,
  ): Promise<Answered<Result> | undefined> {
    const until = Date.now() + patienceMs;
    try {
      const handle = await this.client.connection.withDeadline(until, async () => {
        await this.#claim.claim();
        return begin();
      });
      return { result: await this.#resultOf(handle, until), runId: handle.workflowRunId };
    } catch (err) {
      if (err instanceof WorkflowUpdateRPCTimeoutOrCancelledError) return undefined;
      throw withoutTemporal(err, MAYBE_TAKEN);
    }
  }

  /** The update is durable once it was accepted, so that its result is worth waiting for while Temporal restarts. */
  async #resultOf<Result>(handle: WorkflowUpdateHandle<Result>, until: number): Promise<Result> {
    for (;;) {
      try {
        return await this.client.connection.withDeadline(until, () => handle.result());
      } catch (err) {
        const late = err instanceof WorkflowUpdateRPCTimeoutOrCancelledError || Date.now() + RETRY_MS >= until;
        if (late || !isAbsence(err)) throw err;
        await delay(RETRY_MS);
      }
    }
  }
}
