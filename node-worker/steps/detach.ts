import type { DetachInput, DetachResult, MountRef } from '../../contract/node-activities.ts';
import type { Signed, UnmountRequest } from '../../contract/requests.ts';
import { verifiedRequest } from '../../contract/signature.ts';
import { lockOf, type NodeDependencies } from '../mounts/dependencies.ts';
import { refuseMountsOfLater } from '../mounts/later-release.ts';
import { endOfSlaveNow } from '../mounts/ownership.ts';
import { endUsers, type Taking, takeBack, type UsersPolicy, usersLeft } from '../mounts/take-back.ts';
import { busy, stillUsed, type Users, usersText } from '../mounts/users.ts';
import { keyOf, type MountRecord, mountedDevicesOf, type RecordedDevice } from '../state/mount-record.ts';
import { ifStillMeant, isFresh } from './replay.ts';

/** See `NodeActivities.detachDevices`. */
export async function detach(deps: NodeDependencies, input: DetachInput): Promise<DetachResult> {
  const request = await ifStillMeant(deps.store, input, input.signed && authorised(deps, input.signed));
  refuseMountsOfLater(deps.store, input.mounts);
  const known = takingsOf(deps, input, request);
  // An attach that is on its way writes its record in the step in which it looks for tombstones, so it is seen here or stops.
  if (known.length < input.mounts.length) await buryMeant(deps, input, known);
  const keys = known.map(({ record }) => lockOf(record.signed.request.target));
  return deps.locks.run(keys, () => detachLocked(deps, input, request));
}

/** By a retired key a request is worth no more than none: what it names by slaves is taken back, but no process is ended. */
function authorised(deps: NodeDependencies, signed: Signed<UnmountRequest>): UnmountRequest | undefined {
  try {
    return verifiedRequest(signed, deps);
  } catch {
    verifiedRequest(signed, deps, 'goOn');
    return undefined;
  }
}

async function detachLocked(
  deps: NodeDependencies,
  input: DetachInput,
  request: UnmountRequest | undefined,
): Promise<DetachResult> {
  const takings = takingsOf(deps, input, request);
  const byContainer = Map.groupBy(takings, ({ record }) => record.containerId);
  const users = new Map<string, Users>();
  for (const [containerId, some] of byContainer) users.set(containerId, await detachFrom(deps, input, request, some));
  await buryMeant(deps, input, takings);
  return { mounts: input.mounts.map((mount) => resultOf(mount, takings, users)) };
}

/** Takes what is meant from one container. @throws DeviceBusy, and Internal while killed processes have not ended */
async function detachFrom(
  deps: NodeDependencies,
  input: DetachInput,
  request: UnmountRequest | undefined,
  takings: readonly Taking[],
): Promise<Users> {
  const policy = await policyOf(deps, input, request, takings);
  const live = takings.filter(({ record }) => record.phase !== 'revoked');
  const revoked = takings.filter(({ record }) => record.phase === 'revoked').map(({ record }) => record);
  const all: Users[] = [];
  const [first] = live;
  if (first !== undefined) {
    const users = await takeBack(deps, live, policy, whyOf(deps, request, first.record));
    for (const taking of live) await settle(deps, taking, users.left.length > 0);
    all.push(users);
  }
  for (const record of revoked) all.push(await finish(deps, record, policy, whyOf(deps, request, record)));
  const left = all.flatMap((users) => users.left);
  if (left.length > 0 && policy !== 'leave') throw policy === 'endForGood' ? stillUsed(left) : busy(left);
  return { ended: all.flatMap((users) => users.ended), left };
}

/** Goes on with a mount whose devices were taken back before; whoever asks is told, so its owner need not be. */
async function finish(deps: NodeDependencies, record: MountRecord, policy: UsersPolicy, why: string): Promise<Users> {
  const ends = policy === 'end' || policy === 'endForGood';
  const none = { ended: [], left: [] };
  const isLeft = record.leftToDo === 'endUsers';
  const users = !isLeft ? none : ends ? await endUsers(deps, record, why) : await usersLeft(deps, record);
  if (users.left.length === 0) await deps.store.delete(record.mount);
  return users;
}

function whyOf({ endOfSlave }: NodeDependencies, request: UnmountRequest | undefined, { slaves }: MountRecord): string {
  const end = slaves.map(({ uid }) => endOfSlave(uid)).find((why) => why !== undefined);
  if (end !== undefined || request === undefined)
    return `the slave pod has ended${end === undefined ? '' : `: ${end}`}`;
  return `${request.user.name} has unmounted them by force`;
}

/** Not those of a mount that goes on with other devices, nor of one that is not detached, whoever names them. */
async function buryMeant(
  { store }: NodeDependencies,
  { slaves, device }: DetachInput,
  takings: readonly Taking[],
): Promise<void> {
  if (device !== undefined) return;
  const meant = new Set(takings.map(({ record }) => keyOf(record.mount)));
  const others = store.records().filter(({ mount }) => !meant.has(keyOf(mount)));
  const serving = new Set(others.flatMap((record) => record.slaves.map(({ uid }) => uid)));
  await store.bury(slaves.map(({ uid }) => uid).filter((uid) => !serving.has(uid)));
}

/**
 * What is to be taken. The name of a mount alone means none: another may have it now, and whoever can start activities knows
 * names. So either one of its slaves is named, by UID, or the apiserver has authorised just this, just now.
 */
function takingsOf(
  { store }: NodeDependencies,
  { mounts, slaves, device }: DetachInput,
  request: UnmountRequest | undefined,
): readonly Taking[] {
  const named = new Set(slaves.map(({ uid }) => uid));
  return mounts
    .map((mount) => store.get(mount))
    .filter((record) => record !== undefined)
    .map((record) => takingOf(record, device))
    .filter((taking) => taking.record.slaves.some(({ uid }) => named.has(uid)) || isAuthorised(request, taking));
}

/**
 * Processes are ended only when the user was authorised to ask for that, or when kube-apiserver shows that a slave ends
 * anyway: whoever can start workflows must not be able to end processes on nodes.
 */
async function policyOf(
  deps: NodeDependencies,
  { force, signed }: DetachInput,
  request: UnmountRequest | undefined,
  takings: readonly Taking[],
): Promise<UsersPolicy> {
  const seen = takings.every(({ record }) => record.slaves.some(({ uid }) => deps.endOfSlave(uid) !== undefined));
  if (force && seen) return 'endForGood';
  if (request?.force === true && takings.every((taking) => isAuthorised(request, taking))) return 'end';
  // One whose time is over ends nothing, and what is used must not be freed for others.
  if (!force || signed !== undefined) return 'refuse';
  const ended = await Promise.all(takings.map(({ record }) => hasEnded(deps, record)));
  return ended.every(Boolean) ? 'endForGood' : 'leave';
}

/** Asks kube-apiserver itself, since a slave that was just deleted may not be seen to end yet. */
async function hasEnded(deps: NodeDependencies, { mount, slaves }: MountRecord): Promise<boolean> {
  try {
    const ends = await Promise.all(slaves.map((slave) => endOfSlaveNow(deps, slave)));
    return ends.some((end) => end !== undefined);
  } catch (err) {
    deps.log.warn({ err, mount: keyOf(mount) }, 'cannot tell whether a slave has ended');
    return false;
  }
}

/** A request that is older than its deadline may be a second use of it, by somebody else. */
function isAuthorised(request: UnmountRequest | undefined, taking: Taking): boolean {
  return request !== undefined && isFresh(request, Date.now()) && isAbout(request, taking);
}

function isAbout(request: UnmountRequest, { record: { mount, signed }, devices }: Taking): boolean {
  const { target } = signed.request;
  return (
    request.kind === 'unmount' &&
    request.target.podUid === target.podUid &&
    request.target.container === target.container &&
    request.deviceType === signed.request.deviceType &&
    (request.mount === undefined || request.mount === mount.name) &&
    (request.device === undefined || devices.every(({ id }) => id === request.device))
  );
}

/** What is left of the record after `devices` were taken. */
async function settle({ store }: NodeDependencies, { record, devices }: Taking, usersLeft: boolean): Promise<void> {
  const left = record.devices.filter((device) => !devices.includes(device));
  if (left.length > 0) {
    // Nobody would know any more who uses the device: what has lost its slave ends as a whole, and the rest keeps it.
    if (usersLeft) return;
    const freeable = holdersOf(devices).difference(holdersOf(left));
    const freed = record.slaves.filter(({ name }) => freeable.has(name));
    // Its end is of no concern to the rest of the mount.
    await store.put({ ...record, devices: left, slaves: record.slaves.filter((slave) => !freed.includes(slave)) });
    await store.bury(freed.map(({ uid }) => uid));
    return;
  }
  await store.bury(record.slaves.map(({ uid }) => uid));
  if (usersLeft) await store.put({ ...record, phase: 'revoked', leftToDo: 'endUsers' });
  else await store.delete(record.mount);
}

function holdersOf(devices: readonly RecordedDevice[]): ReadonlySet<string | undefined> {
  return new Set(devices.map(({ slave }) => slave));
}

function takingOf(record: MountRecord, device: string | undefined): Taking {
  return { record, devices: record.devices.filter(({ id }) => device === undefined || id === device) };
}

function resultOf(
  mount: MountRef,
  takings: readonly Taking[],
  users: ReadonlyMap<string, Users>,
): DetachResult['mounts'][number] {
  const taking = takings.find(({ record }) => keyOf(record.mount) === keyOf(mount));
  if (taking === undefined) return { mount, devices: [] };
  const { ended, left } = users.get(taking.record.containerId) ?? { ended: [], left: [] };
  return {
    mount,
    devices: mountedDevicesOf(taking.devices),
    ...(ended.length > 0 && { ended: usersText(ended) }),
    ...(left.length > 0 && { inUse: true }),
  };
}
