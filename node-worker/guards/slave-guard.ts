import type { SlaveRef } from '../../contract/device-mount.ts';
import type { MountRef } from '../../contract/node-activities.ts';
import { lockOf, type NodeDependencies } from '../mounts/dependencies.ts';
import { endOfSlaveNow } from '../mounts/ownership.ts';
import { reportLeft } from '../mounts/report-users.ts';
import { endUsers, takeBack } from '../mounts/take-back.ts';
import type { Users } from '../mounts/users.ts';
import { keyOf, type MountRecord, type Notice } from '../state/mount-record.ts';

export interface SlaveGuardOptions {
  readonly deps: NodeDependencies;
  /** Tells the mount's workflow. Resolves also when there is no such workflow (any more). */
  readonly tellOwner: (mount: MountRef, notice: Notice) => Promise<void>;
  /** How long after a failure it is tried again, in milliseconds. */
  readonly retryMs: number;
}

/**
 * Takes back what a slave's mount was given as soon as the slave ends, without waiting for its workflow. Whatever still uses
 * the devices is ended, the container's main process too: the kubelet gives them to the next pod as soon as the slave's
 * containers are gone. The record stays until no process is left. The workflow is told however long that takes.
 */
export class SlaveGuard {
  readonly #options: SlaveGuardOptions;
  /** Mounts that are worked on now. */
  readonly #working = new Map<string, Promise<void>>();
  readonly #telling = new Map<string, Promise<void>>();
  /** Of each mount the processes that were last reported as left. */
  readonly #reported = new Map<string, string>();
  /** By mount: what is tried again, each once. */
  readonly #timers = new Map<string, NodeJS.Timeout>();
  #stopped = false;

  constructor(options: SlaveGuardOptions) {
    this.#options = options;
  }

  /** Called when a slave is ending or has ended; may be called repeatedly. */
  slaveEnded(uid: string, why: string): void {
    const { deps } = this.#options;
    for (const record of deps.store.records()) {
      if (record.slaves.some((slave) => slave.uid === uid)) this.#end(record.mount, why);
    }
  }

  /** Takes a mount back for another reason, and tells its workflow `notice`. */
  release(mount: MountRef, why: string, notice: Notice): void {
    this.#begin(mount, why, notice);
  }

  /** Goes on with what an earlier process has begun. */
  resume(): void {
    for (const { mount, phase, leftToDo, notice } of this.#options.deps.store.records()) {
      if (leftToDo === 'tellOwner' || notice !== undefined)
        this.#begin(mount, whyOf(notice), notice ?? { signal: 'slaveEnding' });
      else if (phase === 'revoking') void this.#lookAt(mount);
    }
  }

  /** Slaves that should be there and are not in a complete list are asked for one by one: the list may be older than they. */
  slavesListed(uids: ReadonlySet<string>): void {
    for (const { slaves, mount } of this.#options.deps.store.records()) {
      for (const slave of slaves) if (!uids.has(slave.uid)) void this.#endIfGone(slave, mount);
    }
  }

  /** Resolves when what has begun is done, or waits to be tried again. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#working.values());
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    await this.idle();
  }

  async #endIfGone(slave: SlaveRef, mount: MountRef): Promise<void> {
    try {
      const end = await endOfSlaveNow(this.#options.deps, slave);
      if (end !== undefined) this.#end(mount, end);
    } catch (err) {
      // The next list asks again.
      this.#options.deps.log.warn({ err, mount: keyOf(mount) }, 'cannot tell whether a slave is gone');
    }
  }

  /**
   * A detach that was cut off is finished if the reservation is over. Else it is undone, and whoever wanted it asks again: the
   * healer then gives back what is missing.
   */
  async #lookAt(mount: MountRef): Promise<void> {
    const { deps } = this.#options;
    const { store, locks, log } = deps;
    const record = store.get(mount);
    if (record?.phase !== 'revoking') return;
    try {
      const ends = await Promise.all(record.slaves.map((slave) => endOfSlaveNow(deps, slave)));
      const end = ends.find((why) => why !== undefined);
      if (end !== undefined) this.#end(mount, end);
      else
        await locks.run([lockOf(record.signed.request.target)], async () => {
          if (store.get(mount) === record) await store.put({ ...record, phase: 'attached' });
        });
    } catch (err) {
      log.warn({ err, mount: keyOf(mount) }, 'cannot tell whether a slave is gone, trying again');
      this.#later(keyOf(mount), () => void this.#lookAt(mount));
    }
  }

  /** @param why what became of the slave */
  #end(mount: MountRef, why: string): void {
    const notice = { signal: 'slaveEnding', why } as const;
    this.#begin(mount, whyOf(notice), notice);
  }

  #begin(mount: MountRef, why: string, notice: Notice): void {
    const key = keyOf(mount);
    if (this.#working.has(key) || this.#stopped) return;
    const work = this.#work(mount, why, notice)
      .catch((err: unknown) => {
        this.#options.deps.log.error({ err, mount: key }, 'cannot take back what an ended slave held');
        this.#later(key, () => this.#begin(mount, why, notice));
      })
      .finally(() => this.#working.delete(key));
    this.#working.set(key, work);
  }

  async #work(mount: MountRef, why: string, notice: Notice): Promise<void> {
    const { store, locks } = this.#options.deps;
    const target = store.get(mount)?.signed.request.target;
    if (target === undefined) return;
    await locks.run([lockOf(target)], () => this.#takeBack(mount, why, notice));
    const record = store.get(mount);
    if (record?.leftToDo === 'tellOwner') await this.#tell(record, notice);
    if (record?.leftToDo !== 'endUsers') return;
    if (record.notice !== undefined) this.#tellMeanwhile(record, record.notice);
    this.#later(keyOf(mount), () => this.#begin(mount, why, notice));
  }

  async #takeBack(mount: MountRef, why: string, notice: Notice): Promise<void> {
    const { deps } = this.#options;
    const record = deps.store.get(mount);
    if (record === undefined || record.leftToDo === 'tellOwner') return;
    if (record.leftToDo === 'endUsers') {
      const { left } = await endUsers(deps, record, why);
      this.#report(record, left, why);
      if (left.length === 0) await this.#settle(record, left, record.notice);
      return;
    }
    deps.log.info({ mount: keyOf(mount), why, notice: notice.signal }, 'taking the devices of a mount back');
    deps.metrics.revocations.inc({ notice: notice.signal });
    // With what was decided, so that a worker that is killed now goes on with it, whatever the slave looks like then.
    const taking = { record: { ...record, notice }, devices: record.devices };
    const { left } = await takeBack(deps, [taking], 'endForGood', why);
    this.#report(record, left, why);
    await this.#settle(record, left, notice);
  }

  /** @param notice undefined: the owner knows */
  async #settle(record: MountRecord, left: Users['left'], notice: Notice | undefined): Promise<void> {
    const { store } = this.#options.deps;
    await store.bury(record.slaves.map(({ uid }) => uid));
    const what = { ...record, phase: 'revoked', ...(notice !== undefined && { notice }) } as const;
    if (left.length > 0) await store.put({ ...what, leftToDo: 'endUsers', killed: true });
    else if (notice === undefined) await store.delete(record.mount);
    else await store.put({ ...what, leftToDo: 'tellOwner' });
  }

  /** Only what is new: they are looked at again and again. */
  #report(record: MountRecord, left: Users['left'], why: string): void {
    const key = keyOf(record.mount);
    const now = left.map(({ pid, startTime }) => `${pid} ${startTime}`).join();
    if (now !== '' && now !== this.#reported.get(key)) reportLeft(this.#options.deps, record, left, why);
    if (now === '') this.#reported.delete(key);
    else this.#reported.set(key, now);
  }

  #tellMeanwhile(record: MountRecord, notice: Notice): void {
    const { log } = this.#options.deps;
    this.#tell(record, notice).catch((err: unknown) => log.debug({ err, mount: keyOf(record.mount) }, 'was not told'));
  }

  /** Tells the owner, once at a time, and notes that it knows. */
  #tell(record: MountRecord, otherwise: Notice): Promise<void> {
    const key = keyOf(record.mount);
    const telling =
      this.#telling.get(key) ?? this.#tellOnce(record, otherwise).finally(() => this.#telling.delete(key));
    this.#telling.set(key, telling);
    return telling;
  }

  async #tellOnce({ mount, signed, notice }: MountRecord, otherwise: Notice): Promise<void> {
    const { deps, tellOwner } = this.#options;
    await tellOwner(mount, notice ?? otherwise);
    await deps.locks.run([lockOf(signed.request.target)], async () => {
      const now = deps.store.get(mount);
      // A new attach of this mount may have replaced the record meanwhile.
      if (now?.leftToDo === 'tellOwner') await deps.store.delete(mount);
      if (now?.leftToDo !== 'endUsers') return;
      const { notice: _told, ...untold } = now;
      await deps.store.put(untold);
    });
  }

  #later(key: string, body: () => void): void {
    if (this.#stopped) return;
    clearTimeout(this.#timers.get(key));
    const timer = setTimeout(() => {
      this.#timers.delete(key);
      body();
    }, this.#options.retryMs);
    this.#timers.set(key, timer);
  }
}

/** For people; `undefined` is what records of earlier releases have for the end of a slave. */
function whyOf(notice: Notice | undefined): string {
  if (notice?.signal === 'release') return notice.argument.reason;
  if (notice?.signal === 'containerRestarted') return 'the container has restarted';
  const end = notice?.signal === 'slaveEnding' ? notice.why : undefined;
  return `the slave pod has ended${end === undefined ? '' : `: ${end}`}`;
}
