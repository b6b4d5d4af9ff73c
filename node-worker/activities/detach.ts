import type { DetachInput, DetachResult, MountRef } from '../../contract/node-activities.ts';
import type { Signed, UnmountRequest } from '../../contract/requests.ts';
import { verifiedRequest } from '../../contract/signature.ts';
import { keyOf, type MountRecord, mountedDevicesOf, type RecordedDevice } from '../state/mount-record.ts';
import { lockOf, type NodeDependencies } from './dependencies.ts';
import { refuseMountsOfLater } from './later-release.ts';
import { ifStillMeant, isFresh } from './replay.ts';
import { type Taking, takeBack, type UsersPolicy } from './take-back.ts';

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
    return verifiedRequest(signed, deps.publicKeys());
  } catch {
    verifiedRequest(signed, deps.publicKeys(), 'goOn');
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
  for (const [containerId, some] of byContainer) {
    const live = some.filter(({ record }) => record.phase !== 'revoked');
    const { usersLeft } = await takeBack(deps, containerId, live, policyOf(deps, input, request, live));
    for (const taking of live) await settle(deps, taking, usersLeft);
    for (const { record } of some) {
      if (record.phase === 'revoked' && record.leftToDo === 'tellOwner') await deps.store.delete(record.mount);
    }
  }
  await buryMeant(deps, input, takings);
  return { mounts: input.mounts.map((mount) => ({ mount, devices: devicesIn(takings, mount) })) };
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
function policyOf(
  { endOfSlave }: NodeDependencies,
  { force }: DetachInput,
  request: UnmountRequest | undefined,
  takings: readonly Taking[],
): UsersPolicy {
  const asked = request?.force === true && takings.every((taking) => isAuthorised(request, taking));
  if (asked) return force ? 'endIfPossible' : 'end';
  if (!force) return 'refuse';
  const ending = takings.every(({ record }) => record.slaves.some(({ uid }) => endOfSlave(uid) !== undefined));
  return ending ? 'endIfPossible' : 'leave';
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

function devicesIn(takings: readonly Taking[], mount: MountRef): ReturnType<typeof mountedDevicesOf> {
  const taking = takings.find(({ record }) => keyOf(record.mount) === keyOf(mount));
  return taking === undefined ? [] : mountedDevicesOf(taking.devices);
}
