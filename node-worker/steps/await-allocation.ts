import type { SlaveRef } from '../../contract/device-mount.ts';
import { isMeasure } from '../../contract/device-types.ts';
import { fail } from '../../contract/failures.ts';
import { slaveIndex } from '../../contract/names.ts';
import { type MountRequest, sharesOf } from '../../contract/requests.ts';
import type { Allocation } from '../kubelet/checkpoint.ts';
import { claimOf } from '../kubelet/claim.ts';
import type { NodeDependencies } from '../mounts/dependencies.ts';

type Deps = Pick<NodeDependencies, 'kubelet' | 'changes' | 'endOfSlave' | 'store'>;

/** Notifications are what usually wakes; polling is for those that were lost. */
const POLL_MS = 100;
/** So many attaches poll as often. More of them poll more seldom, so that all together are no more work than these. */
const AT_FULL_PACE = 10;

/**
 * Waits until the kubelet has allocated what was asked for to the slaves and has accepted each of them.
 * @throws NotAllocated, SlaveEnded, KubeletUnavailable, and the reason of `signal`
 */
export async function awaitAllocation(
  deps: Deps,
  request: MountRequest,
  slaves: readonly SlaveRef[],
  signal: AbortSignal,
): Promise<readonly Allocation[]> {
  for (;;) {
    const seen = deps.changes.count;
    checkAlive(deps, slaves);
    const allocations = await allocated(deps, request, slaves);
    if (allocations !== undefined) return allocations;
    await refuseClaims(deps, slaves);
    await nextChange(deps, seen, signal);
  }
}

/**
 * Waits until there were more changes than `seen`, or it is time to look all the same.
 * @throws the reason of `signal`
 */
export function nextChange({ changes }: Pick<Deps, 'changes'>, seen: number, signal: AbortSignal): Promise<void> {
  return changes.next(seen, POLL_MS * Math.max(1, changes.waiting / AT_FULL_PACE), signal);
}

/**
 * The kubelet prepares claims after device plugins have answered: then an extended resource that is not allocated never will be.
 * @throws NotAllocated
 */
async function refuseClaims({ kubelet }: Pick<Deps, 'kubelet'>, slaves: readonly SlaveRef[]): Promise<void> {
  // Where they cannot be read, the deadline ends the wait.
  const claims = await kubelet.claims().catch(() => []);
  const slave = slaves.find(({ uid }) => claims.some(({ podUids }) => podUids.includes(uid)));
  if (slave === undefined) return;
  const why = 'a claim serves it, and no device plugin. Use device_type=GENERIC';
  throw fail('NotAllocated', `Cannot attach what "${slave.name}" has: ${why}`);
}

/**
 * What the slaves have now by device plugins; undefined while the kubelet may still come to it.
 * @param served extended resources that are served by something else
 * @throws NotAllocated when it never will, KubeletUnavailable
 */
export async function allocated(
  { kubelet }: Pick<Deps, 'kubelet'>,
  request: Pick<MountRequest, 'resources' | 'split'>,
  slaves: readonly SlaveRef[],
  served: ReadonlySet<string> = new Set(),
): Promise<readonly Allocation[] | undefined> {
  const wanted = Object.entries(wantedBy(request, slaves)).filter(
    ([resource]) => !served.has(resource) && !isMeasure(resource),
  );
  const uids = slaves.map(({ uid }) => uid);
  const claim = claimOf(await kubelet.allocations(), uids, Object.fromEntries(wanted));
  if (claim.state === 'wrong') {
    throw fail('NotAllocated', `Cannot attach what "${slaves[0]?.name}" has: ${claim.message}`);
  }
  if (claim.state !== 'complete') return undefined;
  const accepted = await Promise.all(uids.map((uid) => kubelet.accepted(uid)));
  return accepted.every(Boolean) ? claim.allocations : undefined;
}

/** What these slaves ask for together: a split mount may have given some back. @throws NotAllocated */
function wantedBy(
  request: Pick<MountRequest, 'resources' | 'split'>,
  slaves: readonly SlaveRef[],
): MountRequest['resources'] {
  if (request.split !== true) return request.resources;
  const shares = sharesOf(request);
  const wanted: Record<string, string> = {};
  for (const { name } of slaves) {
    const share = shares[slaveIndex(name)];
    if (share === undefined) throw fail('NotAllocated', `Cannot attach what "${name}" has: no share is for it`);
    for (const resource of Object.keys(share)) wanted[resource] = String(Number(wanted[resource] ?? 0) + 1);
  }
  return wanted;
}

/** @throws SlaveEnded when a slave has ended, or was detached while this step still ran */
export function checkAlive(
  { endOfSlave, store }: Pick<Deps, 'endOfSlave' | 'store'>,
  slaves: readonly SlaveRef[],
): void {
  for (const { name, uid } of slaves) {
    const end = store.buried(uid) ? 'it was detached' : endOfSlave(uid);
    if (end !== undefined) throw fail('SlaveEnded', `Cannot attach what "${name}" has: ${end}`);
  }
}
