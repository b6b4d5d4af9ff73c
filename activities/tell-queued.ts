import type { V1Pod } from '@kubernetes/client-node';
import { ANNOTATIONS } from '../contract/names.ts';
import { endsAtMs, type MountRequest, type Signed } from '../contract/requests.ts';
import { SIGNALS } from '../contract/workflows.ts';
import { saidOf } from './await-scheduled.ts';
import type { Owners } from './owners.ts';
import type { PodWatch } from './pod-watch.ts';
import { mountNameOf } from './slave-pod.ts';

/** Signals on their way at a time: a change that thousands wait for must not keep Temporal from the rest. */
const AT_ONCE = 16;

interface Waiting {
  readonly namespace: string;
  readonly mount: string;
  /** When the request is over, and with it the wait. */
  readonly endsAtMs: number;
  /** What the owner knows; absent words say that the slave has a node. */
  told?: readonly [words?: string];
  /** What it is to know. */
  said?: readonly [words?: string];
}

/**
 * Tells the owner of each slave that waits in the queue what the scheduler says, when that changes; when that failed, again at
 * the next event or list. Answers the function that ends this.
 */
export function tellQueued(
  slaves: PodWatch,
  owners: Pick<Owners, 'signal'>,
  onError: (err: unknown) => void,
): () => void {
  const waiting = new Map<string, Waiting | undefined>();
  const due = new Set<string>();
  let busy = 0;
  const tell = async (uid: string): Promise<void> => {
    const slave = waiting.get(uid);
    if (slave?.said === undefined) return;
    slave.told = slave.said;
    try {
      await owners.signal(slave.namespace, slave.mount, SIGNALS.slaveScheduling, uid, ...slave.said);
    } catch (err) {
      delete slave.told;
      onError(err);
    }
  };
  const next = (): void => {
    for (const uid of due) {
      if (busy === AT_ONCE) return;
      due.delete(uid);
      busy++;
      void tell(uid).finally(() => {
        busy--;
        next();
      });
    }
  };
  return slaves.subscribe((now, last) => {
    const uid = last.metadata?.uid ?? '';
    if (now === undefined) {
      waiting.delete(uid);
      return;
    }
    if (!waiting.has(uid)) waiting.set(uid, waitingOf(now));
    const slave = waiting.get(uid);
    const said = saidOf(now);
    if (slave === undefined || said === undefined || Date.now() > slave.endsAtMs) return;
    slave.said = said.scheduled ? [] : [said.message];
    if (slave.told !== undefined && slave.told[0] === slave.said[0]) return;
    due.add(uid);
    next();
  });
}

/** `undefined` for a slave of a mount that does not queue. */
function waitingOf(slave: V1Pod): Waiting | undefined {
  const mount = mountNameOf(slave);
  const { namespace, annotations } = slave.metadata ?? {};
  if (mount === undefined || namespace === undefined) return undefined;
  try {
    // Not to be trusted: that it waits only means that its owner is told.
    const { request } = JSON.parse(annotations?.[ANNOTATIONS.request] ?? '') as Signed<MountRequest>;
    return request.queue ? { namespace, mount, endsAtMs: endsAtMs(request) } : undefined;
  } catch {
    return undefined;
  }
}
