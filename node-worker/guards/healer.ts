import { type FailureType, failureOf } from '../../contract/failures.ts';
import type { MountRef } from '../../contract/node-activities.ts';
import { driverOf } from '../drivers/drivers.ts';
import { lockOf, type NodeDependencies } from '../mounts/dependencies.ts';
import { mend } from '../mounts/mend.ts';
import { OpenHandles } from '../mounts/open-handles.ts';
import { keyOf, type MountRecord, type Notice } from '../state/mount-record.ts';
import { attachAgain } from '../steps/attach.ts';
import { confirm } from './confirm.ts';

export interface HealerOptions {
  readonly deps: NodeDependencies;
  /** Tells a mount's workflow, however long that takes. */
  readonly tellOwner: (mount: MountRef, notice: Notice) => Promise<void>;
  /** Takes a mount back and tells its workflow why. */
  readonly release: (mount: MountRef, why: string, notice: Notice) => void;
  /** Between two looks at the containers, in milliseconds. */
  readonly periodMs: number;
  /**
   * A slave whose containers do not run after this time, in milliseconds, has not got what the kubelet allocated. It begins
   * anew whenever another slave of the node starts: a kubelet with hundreds to start needs minutes.
   */
  readonly slaveDeadlineMs: number;
}

/** Twice in the time in which a drift is to be mended. */
export const LOOK_PERIOD_MS = 1_000;

/** Ends of a second attempt that a third would have too. */
const FINAL: ReadonlySet<FailureType> = new Set(['NotAllocated', 'ContainerUnsupported', 'Invalid', 'NotFound']);
/** What is attached again is allocated already, so this is for a slow kube-apiserver and runtime. */
const REATTACH_MS = 20_000;
/** However many others start meanwhile. */
const LONGEST_START_MS = 600_000;

/**
 * Keeps containers what their mounts say: gives back what somebody took away, follows a container that restarts, and takes
 * back what a slave turns out not to have. Nothing announces any of these, so it looks, again and again.
 */
export class Healer {
  readonly #options: HealerOptions;
  readonly #handles: OpenHandles;
  /** Work in progress by container; a look does not begin another there. */
  readonly #working = new Map<string, Promise<void>>();
  /** What is wrong with a container, as it was logged. */
  readonly #problems = new Map<string, string>();
  /** Containers whose mounts were told that they cannot be mended. */
  readonly #degraded = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: HealerOptions) {
    this.#options = options;
    this.#handles = new OpenHandles(options.deps.engine);
  }

  start(): void {
    this.#timer ??= setInterval(() => this.look(), this.#options.periodMs);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.settled();
    this.#handles.close();
  }

  /** Resolves when what the looks so far have begun is done. */
  async settled(): Promise<void> {
    await Promise.all(this.#working.values());
  }

  /** Begins to look at every container once, and goes on in the background with what must be done there. */
  look(): void {
    const attached = this.#options.deps.store.records().filter(({ phase }) => phase === 'attached');
    const byContainer = Map.groupBy(attached, ({ containerId }) => containerId);
    this.#handles.keepOnly(byContainer);
    for (const gone of this.#problems.keys()) if (!byContainer.has(gone)) this.#forgetProblem(gone);
    for (const [containerId, records] of byContainer) {
      if (!this.#working.has(containerId)) this.#begin(containerId, () => this.#lookAt(containerId, records));
    }
  }

  async #lookAt(containerId: string, records: readonly MountRecord[]): Promise<void> {
    const [first] = records;
    const handle = first && (await this.#handles.of(first));
    if (handle === undefined) return this.#followRestart(records);
    const grants = records.flatMap(({ devices }) => devices.map(({ grant }) => grant));
    if (await this.#options.deps.engine.drifted(handle, grants)) return this.#mend(records);
    const unconfirmed = records.filter((record) => this.#mustConfirm(record));
    if (unconfirmed.length > 0) return this.#confirm(unconfirmed);
    this.#tellWell(containerId, records);
  }

  #begin(containerId: string, body: () => Promise<void>): void {
    const work = body()
      .then(
        () => this.#forgetProblem(containerId),
        (err: unknown) => this.#complain(containerId, err),
      )
      .finally(() => this.#working.delete(containerId));
    this.#working.set(containerId, work);
  }

  /** Once for each new problem: the next look comes soon. */
  #complain(containerId: string, err: unknown): void {
    const problem = err instanceof Error ? err.message : String(err);
    if (this.#problems.get(containerId) !== problem) {
      this.#options.deps.log.error({ err, container: containerId }, 'cannot keep the devices of a container right');
    }
    this.#problems.set(containerId, problem);
    if (failureOf(err)?.type === 'ContainerUnsupported') this.#tellDegraded(containerId, problem);
  }

  #forgetProblem(containerId: string): void {
    this.#problems.delete(containerId);
    this.#degraded.delete(containerId);
  }

  /** Trying again does not change it, so that people have to know. */
  #tellDegraded(containerId: string, why: string): void {
    if (this.#degraded.has(containerId)) return;
    this.#degraded.add(containerId);
    const records = this.#options.deps.store.records().filter((record) => record.containerId === containerId);
    const at = new Date().toISOString();
    for (const { mount } of records) {
      this.#tell(mount, this.#options.tellOwner(mount, { signal: 'degraded', argument: { at, why } }));
    }
  }

  /** What was mended has been told already; this is for what others have put right. */
  #tellWell(containerId: string, records: readonly MountRecord[]): void {
    if (!this.#degraded.has(containerId)) return;
    this.#forgetProblem(containerId);
    const argument = { at: new Date().toISOString(), what: 'the container has its devices without the node worker' };
    for (const { mount } of records) {
      this.#tell(mount, this.#options.tellOwner(mount, { signal: 'driftHealed', argument }));
    }
  }

  async #mend([first]: readonly MountRecord[]): Promise<void> {
    const { deps, tellOwner } = this.#options;
    const handle = first && (await this.#handles.of(first));
    if (first === undefined || handle === undefined) return;
    const { mended, failures } = await deps.locks.run([lockOf(first.signed.request.target)], () => mend(deps, handle));
    for (const { mount, what } of mended) {
      const argument = { at: new Date().toISOString(), what };
      this.#tell(mount, tellOwner(mount, { signal: 'driftHealed', argument }));
    }
    if (failures.length > 0) throw failures[0];
  }

  async #followRestart(records: readonly MountRecord[]): Promise<void> {
    const { deps, release } = this.#options;
    for (const record of records) {
      const { target, onRestart } = record.signed.request;
      const now = await deps.containers.running(target.podUid, target.container);
      if (now === undefined || now.id === record.containerId) continue;
      deps.metrics.restarts.inc({ policy: onRestart });
      deps.log.info({ mount: keyOf(record.mount), container: now.id, onRestart }, 'a container has restarted');
      const gone: Notice = { signal: 'containerRestarted', argument: { containerId: now.id, reapplied: false } };
      if (onRestart === 'release') release(record.mount, 'its container has restarted', gone);
      else await this.#reapply(record, gone);
    }
  }

  async #reapply(record: MountRecord, otherwise: Notice): Promise<void> {
    const { deps, release, tellOwner } = this.#options;
    try {
      const { containerId } = await attachAgain(deps, record, { signal: AbortSignal.timeout(REATTACH_MS) });
      const argument = { containerId, reapplied: true };
      this.#tell(record.mount, tellOwner(record.mount, { signal: 'containerRestarted', argument }));
    } catch (err) {
      const type = failureOf(err)?.type;
      if (type === undefined || !FINAL.has(type)) throw err;
      release(record.mount, err instanceof Error ? err.message : type, otherwise);
    }
  }

  #mustConfirm(record: MountRecord): boolean {
    const { deps } = this.#options;
    const { deviceType } = record.signed.request;
    if (record.confirmed || driverOf(deviceType).knowsNodes === undefined) return false;
    const running = record.slaves.map(({ uid }) => deps.slaveRuns(uid));
    if (running.every((runs) => runs === true)) return true;
    return running.includes(false) && this.#isOverdue(Date.parse(record.since));
  }

  #isOverdue(sinceMs: number): boolean {
    const { deps, slaveDeadlineMs } = this.#options;
    const idleMs = Date.now() - Math.max(sinceMs, deps.lastSlaveStartMs());
    return idleMs > slaveDeadlineMs || Date.now() - sinceMs > LONGEST_START_MS;
  }

  async #confirm(records: readonly MountRecord[]): Promise<void> {
    const { deps, slaveDeadlineMs } = this.#options;
    for (const { mount, signed } of records) {
      await deps.locks.run([lockOf(signed.request.target)], async () => {
        const record = deps.store.get(mount);
        if (record?.phase !== 'attached' || !this.#mustConfirm(record)) return;
        if (record.slaves.some(({ uid }) => deps.slaveRuns(uid) === false)) {
          const rule = `its slave must run within ${slaveDeadlineMs / 1_000} s, does not`;
          this.#release(record, 'SlaveNotRunning', rule);
          return;
        }
        await this.#confirmOne(record);
      });
    }
  }

  async #confirmOne(record: MountRecord): Promise<void> {
    const { deps } = this.#options;
    try {
      await confirm(deps, record);
      await deps.store.put({ ...record, confirmed: true });
    } catch (err) {
      const type = failureOf(err)?.type;
      if (type === undefined || !FINAL.has(type)) throw err;
      deps.log.error({ err, mount: keyOf(record.mount) }, 'what was attached is not what the slave has');
      this.#release(record, type, err instanceof Error ? err.message : type);
    }
  }

  #release({ mount }: MountRecord, reason: string, why: string): void {
    const argument = { by: `node worker of ${this.#options.deps.node}`, reason: `${reason}: ${why}` };
    this.#options.release(mount, why, { signal: 'release', argument });
  }

  #tell(mount: MountRef, telling: Promise<void>): void {
    telling.catch((err: unknown) => this.#options.deps.log.debug({ err, mount: keyOf(mount) }, 'was not told'));
  }
}
