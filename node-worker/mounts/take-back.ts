import { failureOf } from '../../contract/failures.ts';
import type { ContainerHandle, DeviceUser } from '../kernel/engine.ts';
import type { MountRecord, RecordedDevice } from '../state/mount-record.ts';
import { grantsOf } from '../state/mount-store.ts';
import type { NodeDependencies } from './dependencies.ts';
import { grantDevices, revokeDevices } from './grants.ts';
import { openIfThere } from './open-handles.ts';
import { reportEnded } from './report-users.ts';
import { busy, devicesLost, type Users } from './users.ts';

type Deps = Pick<NodeDependencies, 'engine' | 'store' | 'endOfSlave' | 'events' | 'log' | 'node'>;

/** Devices of one mount that are to be taken back. */
export interface Taking {
  readonly record: MountRecord;
  readonly devices: readonly RecordedDevice[];
}

/**
 * What happens to processes that use the devices.
 * `refuse`: they keep them, nothing is taken. `leave`: they keep what they have opened. `end`: they are ended, the container's
 * main process too; if one does not end, nothing is taken. `endForGood`: likewise, but the devices are taken whatever happens.
 */
export type UsersPolicy = 'refuse' | 'leave' | 'end' | 'endForGood';

const NO_USERS: Users = { ended: [], left: [] };

/**
 * Together well within the 25 s for which `preStop` holds an ending slave: when a reservation ends, its users have ended before
 * the kubelet can give the devices to another pod.
 */
const FIRST = { graceMs: 2_000, limitMs: 10_000 } as const;
/** For processes that were killed before. */
const AGAIN = { graceMs: 0, limitMs: 1_000 } as const;

/**
 * Takes devices back from the container that all of `takings` are in, all or nothing, and answers what became of their users.
 * Undoing what was never done, or is done already, succeeds; so does a container that is gone.
 * @param why what the pod is told when processes of it are ended
 * @throws DeviceBusy with a cause for each process
 */
export async function takeBack(
  deps: Deps,
  takings: readonly Taking[],
  policy: UsersPolicy,
  why: string,
): Promise<Users> {
  const [first] = takings;
  const handle = first && (await openIfThere(deps, first.record));
  if (first === undefined || handle === undefined) return NO_USERS;
  try {
    const lost = lostBy(deps, handle.containerId, takings);
    if (policy === 'refuse') await refuseUsers(deps, handle, lost);
    await begin(deps, takings);
    try {
      const devices = takings.flatMap((taking) => taking.devices);
      await revokeDevices(deps, handle, devices);
      const ends = policy === 'end' || policy === 'endForGood';
      const ended = ends ? await deps.engine.killUsers(handle, lost, FIRST) : [];
      // Also those that have opened a device between the first look and the revocation.
      const left = await leftOf(deps, handle, lost, ended);
      reportEnded(deps, first.record, { ended, left }, why);
      if (left.length > 0 && (policy === 'refuse' || policy === 'end')) throw busy(left);
      return { ended, left };
    } catch (err) {
      if (policy === 'refuse' || policy === 'end') await giveBack(deps, handle, takings);
      throw err;
    }
  } finally {
    handle.close();
  }
}

/** Ends processes that still use what was taken back before, and notes in the record when some do not end. */
export async function endUsers(deps: Deps, record: MountRecord, why: string): Promise<Users> {
  return withUsersOf(deps, record, async (handle, lost) => {
    const ended = await deps.engine.killUsers(handle, lost, record.killed === true ? AGAIN : FIRST);
    const left = await leftOf(deps, handle, lost, ended);
    if (left.length > 0 && record.killed !== true) await deps.store.put({ ...record, killed: true });
    reportEnded(deps, record, { ended, left }, why);
    return { ended, left };
  });
}

/** Where the container cannot be looked into, those that were killed count as left until it can. */
async function leftOf(
  { engine }: Deps,
  handle: ContainerHandle,
  lost: Lost,
  ended: readonly DeviceUser[],
): Promise<readonly DeviceUser[]> {
  try {
    return await engine.usersOf(handle, lost);
  } catch (err) {
    if (failureOf(err)?.type === 'ContainerStuck' && ended.length > 0) return ended;
    throw err;
  }
}

/** Processes that still use what was taken back before. */
export async function usersLeft(deps: Deps, record: MountRecord): Promise<Users> {
  return withUsersOf(deps, record, async (handle, lost) => ({
    ended: [],
    left: await deps.engine.usersOf(handle, lost),
  }));
}

/**
 * Takes back what an attach has begun to give. A process may have opened it by then: the record stays for the end of
 * its slave, or goes when there is none. A mount that was there before goes on: the healer tries again, or has it released, in the
 * container that uses it.
 */
export async function undoAttach(deps: Deps, handle: ContainerHandle, record: MountRecord): Promise<void> {
  await revokeDevices(deps, handle, record.devices);
  const { left } = await usersLeft(deps, record);
  const { before, ...own } = record;
  if (left.length === 0) await forgetAttach(deps, record);
  else if (before === undefined) await deps.store.put({ ...own, phase: 'revoked', leftToDo: 'endUsers' });
  else await deps.store.put({ ...own, phase: 'attached' });
}

/** As if an attach had not begun, of which nothing is left in a container. */
export async function forgetAttach({ store }: Pick<Deps, 'store'>, { mount, before }: MountRecord): Promise<void> {
  if (before === undefined) await store.delete(mount);
  else await store.put(before);
}

type Lost = ReturnType<typeof devicesLost>;

async function withUsersOf(
  deps: Deps,
  record: MountRecord,
  use: (handle: ContainerHandle, lost: Lost) => Promise<Users>,
): Promise<Users> {
  const handle = await openIfThere(deps, record);
  if (handle === undefined) return NO_USERS;
  try {
    return await use(handle, lostBy(deps, record.containerId, [{ record, devices: record.devices }]));
  } finally {
    handle.close();
  }
}

function lostBy({ store }: Deps, containerId: string, takings: readonly Taking[]): Lost {
  const taken = takings.flatMap(({ devices }) => devices.map(({ grant }) => grant));
  const owners = new Set(taken.map(({ owner }) => owner));
  const left = grantsOf(store, containerId).filter(({ owner }) => !owners.has(owner));
  return devicesLost(taken, left);
}

async function refuseUsers({ engine }: Deps, handle: ContainerHandle, lost: Lost): Promise<void> {
  const users = await engine.usersOf(handle, lost);
  if (users.length > 0) throw busy(users);
}

/** So that whoever finds what a killed worker has left does not give it again. A mount that loses a part keeps its reservation. */
async function begin({ store }: Deps, takings: readonly Taking[]): Promise<void> {
  for (const { record, devices } of takings) {
    if (devices.length === record.devices.length) await store.put({ ...record, phase: 'revoking' });
  }
}

/** What has lost its reservation meanwhile stays as it is, for the guard of slaves to go on with. */
async function giveBack(deps: Deps, handle: ContainerHandle, takings: readonly Taking[]): Promise<void> {
  for (const { record } of takings) {
    if (record.slaves.some(({ uid }) => deps.endOfSlave(uid) !== undefined)) continue;
    const whole = record.phase === 'revoking' ? { ...record, phase: 'attached' as const } : record;
    await deps.store.put(whole);
    // A container whose main process was ended has nothing to be given any more.
    if (handle.isAlive()) await grantDevices(deps, handle, whole);
  }
}
