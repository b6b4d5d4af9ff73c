import type { DetachInput, DetachResult, MountRef } from '../../contract/node-activities.ts';
import type { UnmountRequest } from '../../contract/requests.ts';
import { verifiedRequest } from '../../contract/signature.ts';
import { keyOf, type MountRecord, mountedDevicesOf, type RecordedDevice } from '../state/mount-record.ts';
import { lockOf, type NodeDependencies } from './dependencies.ts';
import { isFresh } from './replay.ts';
import { type Taking, takeBack, type UsersPolicy } from './take-back.ts';

/** See `NodeActivities.detachDevices`. */
export async function detach(deps: NodeDependencies, input: DetachInput): Promise<DetachResult> {
  const request = input.signed && verifiedRequest(input.signed, deps.publicKeys());
  const meant = (): readonly MountRecord[] => recordsOf(deps, input, request);
  const known = meant();
  // An attach that is on its way writes its record in the step in which it looks for tombstones, so it is seen here or stops.
  if (known.length < input.mounts.length && input.device === undefined) await buryMeant(deps, input, known);
  const keys = known.map(({ signed }) => lockOf(signed.request.target));
  return deps.locks.run(keys, () => detachLocked(deps, input, request, meant()));
}

async function detachLocked(
  deps: NodeDependencies,
  input: DetachInput,
  request: UnmountRequest | undefined,
  known: readonly MountRecord[],
): Promise<DetachResult> {
  const takings = known.map((record) => takingOf(record, input.device));
  const byContainer = Map.groupBy(takings, ({ record }) => record.containerId);
  for (const [containerId, some] of byContainer) {
    const live = some.filter(({ record }) => record.phase !== 'revoked');
    const { usersLeft } = await takeBack(deps, containerId, live, policyOf(deps, input, request, live));
    for (const taking of live) await settle(deps, taking, usersLeft);
    for (const { record } of some) {
      if (record.phase === 'revoked' && record.leftToDo === 'tellOwner') await deps.store.delete(record.mount);
    }
  }
  if (input.device === undefined) await buryMeant(deps, input, known);
  return { mounts: input.mounts.map((mount) => ({ mount, devices: devicesIn(takings, mount) })) };
}

/** Slaves of other mounts than those that are detached are not meant, whoever says so. */
async function buryMeant(
  { store }: NodeDependencies,
  { slaves }: DetachInput,
  known: readonly MountRecord[],
): Promise<void> {
  const others = store.records().filter((record) => !known.some(({ mount }) => keyOf(mount) === keyOf(record.mount)));
  const serving = new Set(others.flatMap((record) => record.slaves.map(({ uid }) => uid)));
  await store.bury(slaves.map(({ uid }) => uid).filter((uid) => !serving.has(uid)));
}

/**
 * The records that are meant. A name alone means none: another mount may have it now, and whoever can start activities knows
 * names. So either one of the record's slaves is named, by UID, or the apiserver has authorised an unmount of it, just now.
 */
function recordsOf(
  { store }: NodeDependencies,
  { mounts, slaves, device }: DetachInput,
  request: UnmountRequest | undefined,
): readonly MountRecord[] {
  const named = new Set(slaves.map(({ uid }) => uid));
  return mounts
    .map((mount) => store.get(mount))
    .filter((record) => record !== undefined)
    .filter(
      (record) => record.slaves.some(({ uid }) => named.has(uid)) || isAuthorised(request, takingOf(record, device)),
    );
}

/** A request that is older than its deadline may be a second use of it, by somebody else. */
function isAuthorised(request: UnmountRequest | undefined, taking: Taking): boolean {
  return request !== undefined && isFresh(request, Date.now()) && isAbout(request, taking);
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
