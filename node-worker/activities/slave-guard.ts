import type { SlaveRef } from '../../contract/device-mount.ts';
import type { MountRef } from '../../contract/node-activities.ts';
import { keyOf, type MountRecord, type Notice } from '../state/mount-record.ts';
import { lockOf, type NodeDependencies } from './dependencies.ts';
import { endUsers, takeBack } from './take-back.ts';

export interface SlaveGuardOptions {
  readonly deps: NodeDependencies;
  /** Tells the mount's workflow. Resolves also when there is no such workflow (any more). */
  readonly tellOwner: (mount: MountRef, notice: Notice) => Promise<void>;
  /** How long after a failure it is tried again, in milliseconds. */
  readonly retryMs: number;
}

/**
 * Takes back what a slave's mount was given as soon as the slave ends, without waiting for its workflow: the device is free
 * for others as soon as the slave's containers are gone. The workflow is told afterwards, however long that takes.
 */
export class SlaveGuard {
  readonly #options: SlaveGuardOptions;
  /** Mounts that are worked on now. */
  readonly #working = new Map<string, Promise<void>>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #stopped = false;

  constructor(options: SlaveGuardOptions) {
    this.#options = options;
  }

  /** A slave was seen that has ended or is ending. It may be told again and again. */
  slaveEnded(uid: string, why: string): void {
    const { deps } = this.#options;
    for (const record of deps.store.records()) {
      if (record.slaves.some((slave) => slave.uid === uid)) this.#begin(record.mount, why);
    }
  }

  /** Takes a mount back for another reason, and tells its workflow `notice`. */
  release(mount: MountRef, why: string, notice: Notice): void {
    this.#begin(mount, why, notice);
  }

  /** Goes on with what an earlier process has left to tell. */
  resume(): void {
    for (const { mount, leftToDo } of this.#options.deps.store.records()) {
      if (leftToDo === 'tellOwner') this.#begin(mount, 'told late');
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
    for (const timer of this.#timers) clearTimeout(timer);
    await this.idle();
  }

  async #endIfGone({ namespace, name, uid }: SlaveRef, mount: MountRef): Promise<void> {
    try {
      const pod = await this.#options.deps.pods.get(namespace, name);
      if (pod?.uid !== uid) this.#begin(mount, 'it is gone');
      else if (pod.end !== undefined) this.#begin(mount, pod.end);
    } catch (err) {
      // The next list asks again.
      this.#options.deps.log.warn({ err, mount: keyOf(mount) }, 'cannot tell whether a slave is gone');
    }
  }

  #begin(mount: MountRef, why: string, notice: Notice = { signal: 'slaveEnding', why }): void {
    const key = keyOf(mount);
    if (this.#working.has(key) || this.#stopped) return;
    const work = this.#work(mount, why, notice)
      .catch((err: unknown) => {
        this.#options.deps.log.error({ err, mount: key }, 'cannot take back what an ended slave held');
        this.#later(() => this.#begin(mount, why, notice));
      })
      .finally(() => this.#working.delete(key));
    this.#working.set(key, work);
  }

  async #work(mount: MountRef, why: string, notice: Notice): Promise<void> {
    const { deps, tellOwner } = this.#options;
    const target = deps.store.get(mount)?.signed.request.target;
    if (target === undefined) return;
    await deps.locks.run([lockOf(target)], () => this.#takeBack(mount, why, notice));
    const settled = deps.store.get(mount);
    if (settled?.leftToDo !== 'tellOwner') return;
    await tellOwner(mount, settled.notice ?? notice);
    await deps.locks.run([lockOf(target)], async () => {
      // A new attach of this mount may have replaced the record meanwhile.
      if (deps.store.get(mount)?.leftToDo === 'tellOwner') await deps.store.delete(mount);
    });
  }

  async #takeBack(mount: MountRef, why: string, notice: Notice): Promise<void> {
    const { deps } = this.#options;
    const record = deps.store.get(mount);
    if (record === undefined || record.leftToDo === 'tellOwner') return;
    if (record.leftToDo === 'endUsers') {
      await endUsers(deps, record);
      await deps.store.delete(mount);
      return;
    }
    deps.log.info({ mount: keyOf(mount), why, notice: notice.signal }, 'taking the devices of a mount back');
    deps.metrics.revocations.inc({ notice: notice.signal });
    await takeBack(deps, record.containerId, [{ record, devices: record.devices }], 'endIfPossible');
    await this.#settle(record, notice);
  }

  async #settle(record: MountRecord, notice: Notice): Promise<void> {
    const { store } = this.#options.deps;
    await store.bury(record.slaves.map(({ uid }) => uid));
    await store.put({ ...record, phase: 'revoked', leftToDo: 'tellOwner', notice });
  }

  #later(body: () => void): void {
    if (this.#stopped) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      body();
    }, this.#options.retryMs);
    this.#timers.add(timer);
  }
}
