import type { SlaveRef } from '../../contract/device-mount.ts';
import { fail } from '../../contract/failures.ts';
import type { AttachInput, DetachInput } from '../../contract/node-activities.ts';
import { endsAtMs, type MountRequest, type UnmountRequest } from '../../contract/requests.ts';
import type { MountRecord } from '../state/mount-record.ts';
import type { MountStore } from '../state/mount-store.ts';

/**
 * A signed request is proof for ever of what was authorised once, so whoever can start activities could use it again. Four things
 * stand in the way: the slave must say that it was made for this very mount (checkSlave), a slave serves one signed request only,
 * a request serves the slaves of its first use only, and what is not attached when its own time is over never is.
 * The name of a slave is no proof: it is made of the mount's UID, which Temporal gives and nobody signs.
 */

/** @throws NotAllocated for a slave that serves another signed request */
export function checkUnclaimed(store: MountStore, { signed, slaves }: AttachInput): void {
  for (const { name, uid } of slaves) {
    const holder = store.records().find((record) => record.slaves.some((slave) => slave.uid === uid));
    if (holder === undefined || holder.signed.signature === signed.signature) continue;
    throw fail('NotAllocated', `Cannot attach what "${name}" has: it serves mount "${holder.mount.name}"`);
  }
}

/**
 * A step that is repeated names the slaves of the first time; if those were detached since, their tombstones refuse it.
 * @throws MountEnded
 */
export function checkUnused(store: MountStore, { signed, slaves }: AttachInput): void {
  const record = recordOf(store, signed);
  const used = record === undefined ? store.usedFor(signed.request) : uidsOf(record.slaves);
  const goesOn = record !== undefined && record.phase !== 'revoked';
  if (used === undefined || goesOn || slaves.every(({ uid }) => used.has(uid))) return;
  const { name } = signed.request;
  throw fail('MountEnded', `Cannot attach mount "${name}": its request was used before, and that mount has ended`);
}

/** A mount that is attached already may be asked for again at any time, with the slaves that it has. @throws Timeout */
export function checkFresh(store: MountStore, { signed, slaves }: AttachInput, nowMs: number): void {
  const { name, requestedAt, deadlineSeconds } = signed.request;
  const attached = uidsOf(recordOf(store, signed)?.slaves ?? []);
  if (isFresh(signed.request, nowMs) || slaves.every(({ uid }) => attached.has(uid))) return;
  const rule = `it must be attached within ${deadlineSeconds} s of ${requestedAt}`;
  throw fail('Timeout', `Cannot attach mount "${name}": ${rule}, is too late`);
}

function recordOf(store: MountStore, { request, signature }: AttachInput['signed']): MountRecord | undefined {
  const { name, target } = request;
  const record = store.get({ namespace: target.namespace, name });
  return record?.signed.signature === signature ? record : undefined;
}

const uidsOf = (slaves: readonly SlaveRef[]): ReadonlySet<string> => new Set(slaves.map(({ uid }) => uid));

/** Whether a request is still within the time that its user has given it. */
export function isFresh(request: MountRequest | UnmountRequest, nowMs: number): boolean {
  return nowMs <= endsAtMs(request);
}

/** More than a pod has; whoever can start activities can name any number. */
const MAX_NAMED = 1_000;

/**
 * The request, if it was about what is to be detached when it was first used: a mount that was made later is not meant by it.
 * Resolves when that is durable.
 */
export async function ifStillMeant(
  store: MountStore,
  { mounts, slaves }: DetachInput,
  request: UnmountRequest | undefined,
): Promise<UnmountRequest | undefined> {
  if (request === undefined) return undefined;
  const attached = mounts.flatMap((mount) => store.get(mount)?.slaves ?? []);
  await store.use(request, [...uidsOf([...attached, ...slaves.slice(0, MAX_NAMED)])]);
  const used = store.usedFor(request);
  return attached.every(({ uid }) => used === undefined || used.has(uid)) ? request : undefined;
}
