import {
  type Client,
  WithStartWorkflowOperation,
  WorkflowExecutionAlreadyStartedError,
  type WorkflowExecutionDescription,
  type WorkflowExecutionInfo,
  type WorkflowHandle,
  WorkflowNotFoundError,
} from '@temporalio/client';
import type { DeviceMount, DeviceMountList } from '../contract/device-mount.ts';
import { fail } from '../contract/failures.ts';
import { FINGERPRINT_MEMO, type Fingerprint } from '../contract/fingerprint.ts';
import { GROUP_VERSION, mountWorkflowId, SEARCH_ATTRIBUTES } from '../contract/names.ts';
import { isMeant } from '../contract/requests.ts';
import {
  MOUNT_MEMO,
  type MountedResult,
  QUERIES,
  type ReleasedResult,
  type RenewSignal,
  SIGNALS,
  type UnmountInput,
  UPDATES,
  WORKFLOWS,
} from '../contract/workflows.ts';
import type { ClusterClaim } from '../process/cluster-claim.ts';
import { KeyClaims } from './key-claims.ts';
import { keyOf } from './mount-feed.ts';
import type { MountAnswer, Mounts, NewMount, UnmountAnswer } from './mounts.ts';
import { RecentMounts } from './recent-mounts.ts';
import { type Earlier, REMEMBERED_MS, renewalOf, repeatOf } from './repeat.ts';
import { mountStartOptions, unmountStartOptions } from './start-options.ts';
import { TemporalCalls } from './temporal-calls.ts';
import { mountOfWorkflow } from './workflow-mount.ts';

/** A mount that misses its deadline answers by itself within this time; when it does not, nobody works on it. */
const UNDO_PATIENCE_MS = 5_000;
/** Others that begin and end mounts of the same name at the same moment are few. */
const TRIES = 4;

/** The mounts as Temporal keeps them: each is an open workflow. */
export class TemporalMounts implements Mounts {
  readonly #temporal: TemporalCalls;
  readonly #client: Client;
  readonly #claim: ClusterClaim;
  readonly #keys: KeyClaims;
  readonly #recent = new RecentMounts();

  constructor(client: Client, claim: ClusterClaim) {
    this.#client = client;
    this.#claim = claim;
    this.#temporal = new TemporalCalls(client, claim);
    this.#keys = new KeyClaims(client, this.#temporal, (namespace, name) => this.#earlier(namespace, name));
  }

  async check(): Promise<void> {
    const { workflowService } = this.#client.connection;
    const { namespace } = this.#client.options;
    await this.#temporal.call(() => workflowService.describeNamespace({ namespace }), 'nothing was begun');
  }

  async plan({ input: { request }, fingerprint }: NewMount): Promise<void> {
    const earlier = await this.#earlier(request.target.namespace, request.name);
    if (earlier !== undefined) repeatOf(earlier, fingerprint, new Date());
  }

  async mount(wanted: NewMount, patienceMs: number): Promise<MountAnswer> {
    const answer = await this.#mount(wanted, patienceMs);
    this.#recent.note(answer.mount.metadata);
    return answer;
  }

  async #mount(wanted: NewMount, patienceMs: number): Promise<MountAnswer> {
    const { name, target, deadlineSeconds } = wanted.input.request;
    const enoughMs = deadlineSeconds * 1_000 + UNDO_PATIENCE_MS;
    const until = Date.now() + Math.min(patienceMs, enoughMs);
    await this.#keys.claim(wanted.input.request);
    let mayReplace = false;
    for (let tries = 0; tries < TRIES; tries += 1) {
      const begun = await this.#begin(wanted, mayReplace, until - Date.now());
      if (begun !== 'taken') return begun ?? this.#unfinished(wanted, patienceMs > enoughMs);
      const earlier = await this.#earlier(target.namespace, name);
      mayReplace = earlier === undefined || repeatOf(earlier, wanted.fingerprint, new Date()) === 'free';
      const joined = mayReplace ? undefined : await this.#join(earlier?.mount, wanted, until - Date.now());
      if (joined !== undefined) return joined;
      if (!mayReplace && Date.now() >= until) return this.#unfinished(wanted, patienceMs > enoughMs);
    }
    throw fail('NameTaken', `Cannot mount "${name}": others are using that name at this moment`);
  }

  async unmount(input: UnmountInput, patienceMs: number): Promise<UnmountAnswer> {
    const { request } = input;
    const start = unmountStartOptions(input);
    if (patienceMs === 0) await this.#temporal.start(WORKFLOWS.unmount, start);
    else {
      const operation = new WithStartWorkflowOperation(WORKFLOWS.unmount, start);
      const released = await this.#temporal.startAndWait<ReleasedResult>(operation, UPDATES.released, patienceMs);
      for (const { metadata } of released?.items ?? []) this.#recent.note(metadata);
      if (released !== undefined) return { state: 'released', list: released };
    }
    const list = await this.list(request.target.namespace);
    const items = list.items.filter((mount) => isMeant(mount, request));
    return { state: 'releasing', list: { ...list, items } };
  }

  async get(namespace: string, name: string): Promise<DeviceMount | undefined> {
    return (await this.#earlier(namespace, name))?.mount;
  }

  async list(namespace: string | undefined, rememberedMs = REMEMBERED_MS): Promise<DeviceMountList> {
    const since = new Date(Date.now() - rememberedMs).toISOString();
    const query = [
      `WorkflowType = '${WORKFLOWS.mount}'`,
      `${SEARCH_ATTRIBUTES.cluster} = '${await this.#claim.name()}'`,
      `ExecutionStatus != 'ContinuedAsNew'`,
      `(ExecutionStatus = 'Running' OR CloseTime > '${since}')`,
      ...(namespace === undefined ? [] : [`${SEARCH_ATTRIBUTES.namespace} = '${namespace}'`]),
    ].join(' AND ');
    const resourceVersion = String(Date.now());
    const [found, recent] = await Promise.all([
      this.#temporal.call(() => Array.fromAsync(this.#client.workflow.list({ query })), 'mounts cannot be read'),
      Promise.all(this.#recent.in(namespace).map((told) => this.get(told.namespace, told.name))),
    ]);
    // A name may have been used again: its latest mount is the one that `get` finds.
    const latest = new Map<string, WorkflowExecutionInfo>();
    for (const info of found.toSorted((a, b) => a.startTime.getTime() - b.startTime.getTime()))
      latest.set(info.workflowId, info);
    const listed = [...latest.values()].flatMap((info) => mountOfWorkflow(info) ?? []);
    const items = new Map([...listed, ...recent.flatMap((mount) => mount ?? [])].map((mount) => [keyOf(mount), mount]));
    return {
      apiVersion: GROUP_VERSION,
      kind: 'DeviceMountList',
      metadata: { resourceVersion },
      items: [...items.values()].toSorted(byName),
    };
  }

  /** Starts the mount; `taken` when there is one of its name, undefined when the patience was not enough. */
  async #begin(wanted: NewMount, mayReplace: boolean, patienceMs: number): Promise<MountAnswer | 'taken' | undefined> {
    const start = mountStartOptions(wanted, mayReplace);
    try {
      if (patienceMs <= 0) {
        await this.#temporal.start(WORKFLOWS.mount, start);
        return undefined;
      }
      const operation = new WithStartWorkflowOperation(WORKFLOWS.mount, start);
      const mount = await this.#temporal.startAndWait<MountedResult>(operation, UPDATES.mounted, patienceMs);
      return mount === undefined ? undefined : { state: 'mounted', mount };
    } catch (err) {
      if (err instanceof WorkflowExecutionAlreadyStartedError) return 'taken';
      throw err;
    }
  }

  /** Goes on with a mount that the same request has begun before; undefined when it has just ended. */
  async #join(
    earlier: DeviceMount | undefined,
    { input: { request } }: NewMount,
    patienceMs: number,
  ): Promise<MountAnswer | undefined> {
    if (earlier === undefined) return undefined;
    const workflowId = mountWorkflowId(request.cluster, request.target.namespace, request.name);
    const mounted =
      earlier.status.phase === 'Mounted'
        ? earlier
        : await this.#temporal.wait<MountedResult>(workflowId, UPDATES.mounted, Math.max(1, patienceMs));
    if (mounted === undefined) {
      const now = await this.get(request.target.namespace, request.name);
      return now?.status.phase === 'Pending' ? { state: 'pending', mount: now } : undefined;
    }
    const leaseSeconds = renewalOf(mounted, request);
    const mount = leaseSeconds === undefined ? mounted : await this.#renewed(workflowId, { leaseSeconds });
    return mount === undefined ? undefined : { state: 'mounted', mount };
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
   * What there is when the patience is over: its end may have come while this process was held up.
   * @throws what `repeatOf` throws when it has ended
   */
  async #unfinished({ input, fingerprint, first }: NewMount, pastDeadline: boolean): Promise<MountAnswer> {
    const { name, target, deadlineSeconds } = input.request;
    const earlier = await this.#earlier(target.namespace, name);
    const mount = earlier?.mount ?? first;
    if (earlier !== undefined) repeatOf(earlier, fingerprint, new Date());
    if (mount.status.phase === 'Mounted') return { state: 'mounted', mount };
    // Its time began when Temporal took it, which may have been late.
    const isOver = Date.now() >= Date.parse(mount.metadata.creationTimestamp) + deadlineSeconds * 1_000;
    if (pastDeadline && isOver) {
      const message = `Cannot mount "${name}": it must be mounted within ${deadlineSeconds} s, is not`;
      throw fail('Timeout', message, undefined, [
        { reason: 'RollingBack', message: 'what was begun is still being undone' },
      ]);
    }
    return { state: 'pending', mount };
  }

  #ask(handle: WorkflowHandle): Promise<DeviceMount> {
    return this.#temporal.call(() => handle.query<DeviceMount>(QUERIES.deviceMount), 'mounts cannot be read');
  }

  async #earlier(namespace: string, name: string): Promise<Earlier | undefined> {
    const workflowId = mountWorkflowId(await this.#claim.name(), namespace, name);
    const handle = this.#client.workflow.getHandle(workflowId);
    try {
      const info = await this.#temporal.call(() => handle.describe(), 'mounts cannot be read');
      const mount = mountOfWorkflow(info) ?? (isUntold(info) ? await this.#ask(handle) : undefined);
      if (mount === undefined) return undefined;
      return { mount, fingerprint: info.memo?.[FINGERPRINT_MEMO] as Fingerprint | undefined, endedAt: info.closeTime };
    } catch (err) {
      if (err instanceof WorkflowNotFoundError) return undefined;
      throw err;
    }
  }
}

/** Whether a mount's workflow that somebody else than this API has started has not taken its first step. */
function isUntold({ type, status, memo }: WorkflowExecutionDescription): boolean {
  return type === WORKFLOWS.mount && status.name === 'RUNNING' && memo?.[MOUNT_MEMO] === undefined;
}

function byName({ metadata: a }: DeviceMount, { metadata: b }: DeviceMount): number {
  return a.namespace.localeCompare(b.namespace) || a.name.localeCompare(b.name);
}
