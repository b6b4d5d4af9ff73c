import { setTimeout as delay } from 'node:timers/promises';
import {
  type Client,
  WithStartWorkflowOperation,
  WorkflowExecutionAlreadyStartedError,
  type WorkflowExecutionDescription,
  type WorkflowHandle,
  WorkflowNotFoundError,
} from '@temporalio/client';
import { optionalTsToMs } from '@temporalio/common/lib/time.js';
import type { DeviceMount } from '../../contract/device-mount.ts';
import { fail } from '../../contract/failures.ts';
import { FINGERPRINT_MEMO, type Fingerprint } from '../../contract/fingerprint.ts';
import { mountWorkflowId } from '../../contract/names.ts';
import {
  MOUNT_MEMO,
  QUERIES,
  type ReleasedResult,
  type RenewSignal,
  SIGNALS,
  type UnmountInput,
  UPDATES,
  WORKFLOWS,
} from '../../contract/workflows.ts';
import type { ClusterClaim } from '../../process/cluster-claim.ts';
import { SHOWN_MS } from '../requests/patience.ts';
import { KeyClaims } from './key-claims.ts';
import type { MountAnswer, Mounts, NewMount } from './mounts.ts';
import { type Earlier, renewalOf, repeatOf } from './repeat.ts';
import { mountStartOptions, unmountStartOptions } from './start-options.ts';
import { MAYBE_TAKEN, TemporalCalls } from './temporal-calls.ts';
import { mountOfWorkflow } from './workflow-mount.ts';

/** A mount that misses its deadline answers by itself within this time; when it does not, nobody works on it. */
const UNDO_PATIENCE_MS = 5_000;
/** All who ask within this time share one update. */
const SHARED_MS = 60_000;
/** How often a workflow is looked at while a worker has a task of it; PendingWorkflowTaskState of the workflow service. */
const TASK_LOOK_MS = 250;
const TASK_STARTED = 2;
/** Others that begin and end mounts of the same name at the same moment are few. */
const TRIES = 4;

/** The mounts as Temporal keeps them: each is an open workflow. */
export class TemporalMounts implements Mounts {
  readonly #temporal: TemporalCalls;
  readonly #client: Client;
  readonly #claim: ClusterClaim;
  readonly #keys: KeyClaims;

  constructor(client: Client, claim: ClusterClaim) {
    this.#client = client;
    this.#claim = claim;
    this.#temporal = new TemporalCalls(client, claim);
    this.#keys = new KeyClaims(client, this.#temporal, (namespace, name) => this.earlier(namespace, name));
  }

  async check(): Promise<void> {
    const { workflowService } = this.#client.connection;
    const { namespace } = this.#client.options;
    await this.#temporal.call(() => workflowService.describeNamespace({ namespace }), 'nothing was begun');
  }

  async plan({ input: { request }, fingerprint }: NewMount): Promise<void> {
    const earlier = await this.earlier(request.target.namespace, request.name);
    if (earlier !== undefined) repeatOf(earlier, fingerprint, new Date());
  }

  async mount(wanted: NewMount, patienceMs: number, shownMs = SHOWN_MS): Promise<MountAnswer> {
    const { name, target, deadlineSeconds } = wanted.input.request;
    const enoughMs = deadlineSeconds * 1_000 + UNDO_PATIENCE_MS;
    const until = Date.now() + Math.min(patienceMs, enoughMs);
    const toldBy = patienceMs > enoughMs ? Date.now() + patienceMs : undefined;
    const unfinished = () => this.#unfinished(wanted, toldBy, patienceMs > 0 ? shownMs : 0);
    await this.#keys.claim(wanted.input.request);
    let mayReplace = false;
    for (let tries = 0; tries < TRIES; tries += 1) {
      const begun = await this.#begin(wanted, mayReplace, goalOf(until - Date.now(), shownMs));
      if (begun !== 'taken') return begun ?? unfinished();
      const earlier = await this.earlier(target.namespace, name);
      mayReplace = earlier === undefined || repeatOf(earlier, wanted.fingerprint, new Date()) === 'free';
      if (earlier === undefined || mayReplace) continue;
      const joined = await this.#join(earlier.mount, wanted, goalOf(until - Date.now(), shownMs));
      if (joined !== undefined) return joined;
      if (Date.now() >= until) return unfinished();
    }
    throw fail('NameTaken', `Cannot mount "${name}": others are using that name at this moment`);
  }

  async unmount(input: UnmountInput, patienceMs: number): Promise<ReleasedResult | undefined> {
    const start = unmountStartOptions(input);
    if (patienceMs > 0) {
      const operation = new WithStartWorkflowOperation(WORKFLOWS.unmount, start);
      const released = await this.#temporal.startAndWait<ReleasedResult>(operation, UPDATES.released, patienceMs, [
        patienceMs,
      ]);
      return released?.result;
    }
    await this.#temporal.start(WORKFLOWS.unmount, start);
    return undefined;
  }

  /** Starts the mount; `taken` when there is one of its name, undefined when the patience was not enough or it has ended. */
  async #begin(wanted: NewMount, mayReplace: boolean, goal: Goal): Promise<MountAnswer | 'taken' | undefined> {
    const start = mountStartOptions(wanted, mayReplace);
    const operation = new WithStartWorkflowOperation(WORKFLOWS.mount, start);
    try {
      const begun = await this.#temporal.startAndWait<DeviceMount>(operation, goal.update, goal.withinMs);
      return answerOf(begun?.result, begun?.runId);
    } catch (err) {
      if (err instanceof WorkflowExecutionAlreadyStartedError) return 'taken';
      throw err;
    }
  }

  /** Goes on with a mount that the same request has begun before; undefined as for `#begin`. */
  async #join(
    earlier: DeviceMount,
    { input: { request } }: NewMount,
    { update, withinMs }: Goal,
  ): Promise<MountAnswer | undefined> {
    const workflowId = mountWorkflowId(request.cluster, request.target.namespace, request.name);
    const mounted = earlier.status.phase === 'Mounted';
    const mount = mounted ? earlier : await this.#changed(earlier, workflowId, { update, withinMs });
    const leaseSeconds = mount?.status.phase === 'Mounted' ? renewalOf(mount, request) : undefined;
    if (leaseSeconds === undefined) return answerOf(mount, earlier.metadata.uid);
    return answerOf(await this.#renewed(workflowId, { leaseSeconds }), earlier.metadata.uid);
  }

  /**
   * Waits for `update`. An update keeps its answer for ever, so that whoever has seen another state, or asks a minute later, waits by
   * another one. A run takes only 2,000 of them.
   */
  #changed(earlier: DeviceMount, workflowId: string, { update, withinMs }: Goal): Promise<DeviceMount | undefined> {
    const seen = `${earlier.metadata.resourceVersion}-${Math.floor(Date.now() / SHARED_MS)}`;
    const updateId = update === UPDATES.shown ? `${update}-${seen}` : update;
    return this.#temporal.wait<DeviceMount>(workflowId, update, withinMs, updateId);
  }

  async #renewed(workflowId: string, renewal: RenewSignal): Promise<DeviceMount | undefined> {
    const handle = this.#client.workflow.getHandle(workflowId);
    try {
      return await this.#temporal.call(async () => {
        await handle.signal<[RenewSignal]>(SIGNALS.renew, renewal);
        // A query sees every signal that was sent before it.
        return handle.query<DeviceMount>(QUERIES.deviceMount);
      }, 'the lease may have been renewed all the same');
    } catch (err) {
      if (err instanceof WorkflowNotFoundError) return undefined;
      throw err;
    }
  }

  /**
   * What there is when the patience is over: its end may have come while this process was held up. For its object to exist it waits at
   * most `shownMs`.
   * @param toldBy until when a caller waits who is told when the deadline of the mount is over
   * @throws what `repeatOf` throws when it has ended
   */
  async #unfinished(wanted: NewMount, toldBy: number | undefined, shownMs: number): Promise<MountAnswer> {
    const { cluster, name, target, deadlineSeconds } = wanted.input.request;
    const earlier = await this.earlier(target.namespace, name);
    if (earlier === undefined) throw fail('TemporalUnavailable', `Cannot reach Temporal in time: ${MAYBE_TAKEN}`);
    repeatOf(earlier, wanted.fingerprint, new Date());
    const { mount } = earlier;
    if (mount.status.phase === 'Mounted') return { state: 'mounted', mount, shown: false };
    // Its time began when Temporal took it, which may have been late.
    const overMs = Date.parse(mount.metadata.creationTimestamp) + deadlineSeconds * 1_000;
    const isTold = toldBy !== undefined && Date.now() >= overMs;
    // For the workflow it is as late as it was when its task began, and nobody knows yet what it makes of that.
    const isDecided = earlier.taskSince === undefined || earlier.taskSince.getTime() >= overMs;
    if (isTold && isDecided) {
      const message = `Cannot mount "${name}": it must be mounted within ${deadlineSeconds} s, is not`;
      throw fail('Timeout', message, undefined, [
        { reason: 'RollingBack', message: 'what was begun is still being undone' },
      ]);
    }
    if (isTold && Date.now() < toldBy) {
      await delay(TASK_LOOK_MS);
      return this.#unfinished(wanted, toldBy, shownMs);
    }
    const workflowId = mountWorkflowId(cluster, target.namespace, name);
    const goal = { update: UPDATES.shown, withinMs: shownMs };
    const shown = shownMs > 0 ? await this.#changed(mount, workflowId, goal) : undefined;
    return answerOf(shown ?? mount, mount.metadata.uid) ?? this.#unfinished(wanted, toldBy, 0);
  }

  #ask(handle: WorkflowHandle): Promise<DeviceMount> {
    return this.#temporal.call(() => handle.query<DeviceMount>(QUERIES.deviceMount), 'mounts cannot be read');
  }

  /** What has the name, as its workflow knows it; undefined when nothing has. */
  async earlier(namespace: string, name: string): Promise<Earlier | undefined> {
    const workflowId = mountWorkflowId(await this.#claim.name(), namespace, name);
    const handle = this.#client.workflow.getHandle(workflowId);
    try {
      const info = await this.#temporal.call(() => handle.describe(), 'mounts cannot be read');
      const mount = mountOfWorkflow(info) ?? (isUntold(info) ? await this.#ask(handle) : undefined);
      if (mount === undefined) return undefined;
      return {
        mount,
        fingerprint: info.memo?.[FINGERPRINT_MEMO] as Fingerprint | undefined,
        endedAt: info.closeTime,
        taskSince: taskSince(info),
      };
    } catch (err) {
      if (err instanceof WorkflowNotFoundError) return undefined;
      throw err;
    }
  }
}

/** When the workflow task began that a worker has now. A worker that does not end it in time (10 s) loses it. */
function taskSince({ raw: { pendingWorkflowTask: task } }: WorkflowExecutionDescription): Date | undefined {
  // It has the time of an earlier attempt while it waits for a worker.
  const ms = Number(task?.state) === TASK_STARTED ? optionalTsToMs(task?.startedTime) : undefined;
  return ms === undefined ? undefined : new Date(ms);
}

/** Whether a mount's workflow that somebody else than this API has started has not taken its first step. */
function isUntold({ type, status, memo }: WorkflowExecutionDescription): boolean {
  return type === WORKFLOWS.mount && status.name === 'RUNNING' && memo?.[MOUNT_MEMO] === undefined;
}

/** The update that a caller waits for. */
interface Goal {
  readonly update: string;
  readonly withinMs: number;
}

/** Who does not wait for the devices waits for the object, so that it is there when they look. */
function goalOf(patienceMs: number, shownMs: number): Goal {
  return patienceMs > 0
    ? { update: UPDATES.mounted, withinMs: patienceMs }
    : { update: UPDATES.shown, withinMs: shownMs };
}

/**
 * Undefined for a mount that ends: what became of it has to be looked up. `ownUid` is the mount's own: with another one it has that of
 * its object.
 */
function answerOf(mount: DeviceMount | undefined, ownUid: string | undefined): MountAnswer | undefined {
  const shown = ownUid !== undefined && mount?.metadata.uid !== ownUid;
  if (mount?.status.phase === 'Pending') return { state: 'pending', mount, shown };
  return mount?.status.phase === 'Mounted' ? { state: 'mounted', mount, shown } : undefined;
}
