import type { V1Pod } from '@kubernetes/client-node';
import { ANNOTATIONS } from '../contract/names.ts';
import { endsAtMs, type MountRequest, type Signed } from '../contract/requests.ts';
import { SIGNALS } from '../contract/workflows.ts';
import { FreedDevices } from './freed-devices.ts';
import type { Owners } from './owners.ts';
import type { PodWatch } from './pod-watch.ts';
import { mountNameOf } from './slave-pod.ts';

/** For so long a slave may wait for devices that others give back just now; an unmount ends its slaves a moment after its answer. */
const FREED_MS = { ending: 5_000, unseen: 300 };
/** How often that is looked at. */
const FREED_PERIOD_MS = 100;
/** Signals on their way at a time: a change that thousands wait for must not keep Temporal from the rest. */
const AT_ONCE = 16;

interface Waiting {
  readonly namespace: string;
  readonly mount: string;
  /** When the request is over, and with it the wait. */
  readonly endsAtMs: number;
  /** Whether its owner waits for a node. One that does not is told only that there is none: the attach shows the rest. */
  readonly queues: boolean;
  /** Since when the scheduler has no node for it. */
  sinceMs?: number;
  /** To look again. */
  timer?: NodeJS.Timeout;
  /** What the owner knows; absent words say that the slave has a node. */
  told?: readonly [words?: string];
  /** What it is to know. */
  said?: readonly [words?: string];
}

/**
 * Tells the owner of each slave what the scheduler says, when that changes; when that failed, again at the next event or list. That there
 * is no device while one is being given back is not told at once: a device that was just unmounted can be mounted elsewhere.
 */
export class SchedulingTeller {
  readonly #slaves: PodWatch;
  readonly #owners: Pick<Owners, 'signal'>;
  readonly #onError: (err: unknown) => void;
  readonly #freed: FreedDevices;
  readonly #unsubscribe: () => void;
  /** By the UID of the slave. */
  readonly #waiting = new Map<string, Waiting | undefined>();
  readonly #due = new Set<string>();
  #busy = 0;

  constructor(slaves: PodWatch, owners: Pick<Owners, 'signal'>, onError: (err: unknown) => void) {
    this.#slaves = slaves;
    this.#owners = owners;
    this.#onError = onError;
    this.#freed = new FreedDevices(slaves);
    this.#unsubscribe = slaves.subscribe((now, last) => {
      const uid = last.metadata?.uid ?? '';
      if (now === undefined) this.#forget(uid);
      else this.#look(uid, now);
    });
  }

  stop(): void {
    this.#unsubscribe();
    this.#freed.stop();
    for (const uid of this.#waiting.keys()) this.#forget(uid);
  }

  #forget(uid: string): void {
    clearTimeout(this.#waiting.get(uid)?.timer);
    this.#waiting.delete(uid);
  }

  #look(uid: string, pod: V1Pod): void {
    if (!this.#waiting.has(uid)) this.#waiting.set(uid, waitingOf(pod));
    const slave = this.#waiting.get(uid);
    const said = saidOf(pod);
    if (slave === undefined || said === undefined || Date.now() > slave.endsAtMs) return;
    clearTimeout(slave.timer);
    if (!slave.queues && said.length === 0) return;
    slave.sinceMs ??= Date.now();
    const patienceMs = this.#freed.mayServe(pod) ? FREED_MS.ending : FREED_MS.unseen;
    if (!slave.queues && Date.now() - slave.sinceMs < patienceMs) {
      slave.timer = setTimeout(() => this.#lookAgain(uid, pod), FREED_PERIOD_MS);
      return;
    }
    slave.said = said;
    if (slave.told !== undefined && slave.told[0] === slave.said[0]) return;
    this.#due.add(uid);
    this.#next();
  }

  #lookAgain(uid: string, { metadata }: V1Pod): void {
    const pod = this.#slaves.get({ namespace: metadata?.namespace ?? '', name: metadata?.name ?? '' });
    if (pod?.metadata?.uid === uid) this.#look(uid, pod);
  }

  #next(): void {
    for (const uid of this.#due) {
      if (this.#busy === AT_ONCE) return;
      this.#due.delete(uid);
      this.#busy++;
      void this.#tell(uid).finally(() => {
        this.#busy--;
        this.#next();
      });
    }
  }

  async #tell(uid: string): Promise<void> {
    const slave = this.#waiting.get(uid);
    if (slave?.said === undefined) return;
    slave.told = slave.said;
    try {
      await this.#owners.signal(slave.namespace, slave.mount, SIGNALS.slaveScheduling, uid, ...slave.said);
    } catch (err) {
      delete slave.told;
      this.#onError(err);
    }
  }
}

/**
 * What the scheduler has said about a pod, if anything: that there is no node for it, in these words; without words, that it has
 * one.
 */
function saidOf({ spec, status }: V1Pod): readonly [words?: string] | undefined {
  if (spec?.nodeName !== undefined) return [];
  // The scheduler is making room by preemption.
  if (status?.nominatedNodeName !== undefined && status.nominatedNodeName !== '') return undefined;
  // Conditions are a list without order.
  const condition = (status?.conditions ?? []).find(({ type }) => type === 'PodScheduled');
  if (condition?.status !== 'False' || condition.reason !== 'Unschedulable') return undefined;
  return [condition.message ?? ''];
}

/** `undefined` for what is no slave of ours. */
function waitingOf(slave: V1Pod): Waiting | undefined {
  const mount = mountNameOf(slave);
  const { namespace, annotations } = slave.metadata ?? {};
  if (mount === undefined || namespace === undefined) return undefined;
  try {
    // Not to be trusted: it only means that its owner is told.
    const { request } = JSON.parse(annotations?.[ANNOTATIONS.request] ?? '') as Signed<MountRequest>;
    return { namespace, mount, endsAtMs: endsAtMs(request), queues: request.queue };
  } catch {
    return undefined;
  }
}
