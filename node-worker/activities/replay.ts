import { fail } from '../../contract/failures.ts';
import type { AttachInput } from '../../contract/node-activities.ts';
import type { MountRequest, UnmountRequest } from '../../contract/requests.ts';
import type { MountStore } from '../state/mount-store.ts';

/**
 * A signed request is proof for ever of what was authorised once, so whoever can start activities could use it again after
 * the mount has ended. Three things stand in the way: the slave must say that it was made for this very mount (checkSlave),
 * a slave serves one signed request only, and what is not attached when the request's own time is over never is.
 * The name of a slave is no proof: it is made of the mount's UID, which Temporal gives and nobody signs.
 */

/** Clocks of two machines of a cluster, apart. */
const CLOCK_SKEW_MS = 60_000;

/** @throws NotAllocated for a slave that serves another signed request */
export function checkUnclaimed(store: MountStore, { signed, slaves }: AttachInput): void {
  for (const { name, uid } of slaves) {
    const holder = store.records().find((record) => record.slaves.some((slave) => slave.uid === uid));
    if (holder === undefined || holder.signed.signature === signed.signature) continue;
    throw fail('NotAllocated', `Cannot attach what "${name}" has: it serves mount "${holder.mount.name}"`);
  }
}

/** A mount that is attached already may be asked for again at any time. @throws Timeout */
export function checkFresh(store: MountStore, { signed }: AttachInput, nowMs: number): void {
  const { name, target, requestedAt, deadlineSeconds } = signed.request;
  if (store.get({ namespace: target.namespace, name })?.signed.signature === signed.signature) return;
  if (isFresh(signed.request, nowMs)) return;
  const rule = `it must be attached within ${deadlineSeconds} s of ${requestedAt}`;
  throw fail('Timeout', `Cannot attach mount "${name}": ${rule}, is too late`);
}

/** Whether a request is still within the time that its user has given it. */
export function isFresh({ requestedAt, deadlineSeconds }: MountRequest | UnmountRequest, nowMs: number): boolean {
  return nowMs <= Date.parse(requestedAt) + deadlineSeconds * 1_000 + CLOCK_SKEW_MS;
}
