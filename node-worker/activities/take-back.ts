import { failureOf } from '../../contract/failures.ts';
import type { ContainerHandle } from '../kernel/engine.ts';
import type { MountRecord, RecordedDevice } from '../state/mount-record.ts';
import { grantsOf } from '../state/mount-store.ts';
import type { NodeDependencies } from './dependencies.ts';
import { grantDevices, revokeDevices } from './grants.ts';
import { busy, devicesLost } from './users.ts';

type Deps = Pick<NodeDependencies, 'engine' | 'store' | 'log'>;

/** Devices of one mount that are to be taken back. */
export interface Taking {
  readonly record: MountRecord;
  readonly devices: readonly RecordedDevice[];
}

/**
 * What happens to processes that use the devices.
 * `refuse`: they keep them, nothing is taken. `leave`: they keep what they have opened. `end`: they are ended; where the
 * container's main process is among them, nothing is taken. `endIfPossible`: likewise, but then it is left.
 */
export type UsersPolicy = 'refuse' | 'leave' | 'end' | 'endIfPossible';

/** How long a process has between SIGTERM and SIGKILL, in milliseconds. */
const TERM_GRACE_MS = 2_000;

/**
 * Takes devices back from the container that all of `takings` are in, all or nothing, and answers whether processes that
 * were left still use them. Undoing what was never done, or is done already, succeeds; so does a container that is gone.
 * @throws DeviceBusy with a cause for each process
 */
export async function takeBack(
  deps: Deps,
  containerId: string,
  takings: readonly Taking[],
  users: UsersPolicy,
): Promise<{ readonly usersLeft: boolean }> {
  const handle = openIfThere(deps, containerId);
  if (handle === undefined) return { usersLeft: false };
  try {
    const lost = lostBy(deps, containerId, takings);
    if (users === 'refuse') refuseUsers(deps, handle, lost);
    const devices = takings.flatMap((taking) => taking.devices);
    await revokeDevices(deps, handle, devices);
    try {
      // Opened between the first look and the revocation.
      if (users === 'refuse') refuseUsers(deps, handle, lost);
      if (users === 'end') await deps.engine.killUsers(handle, lost, { graceMs: TERM_GRACE_MS });
    } catch (err) {
      for (const { record } of takings) await grantDevices(deps, handle, record);
      throw err;
    }
    if (users === 'endIfPossible') await endIfPossible(deps, handle, lost);
    return { usersLeft: deps.engine.usersOf(handle, lost).length > 0 };
  } finally {
    handle.close();
  }
}

/** Ends processes that still use what was taken back before. */
export async function endUsers(deps: Deps, record: MountRecord): Promise<void> {
  const handle = openIfThere(deps, record.containerId);
  if (handle === undefined) return;
  try {
    await endIfPossible(deps, handle, lostBy(deps, record.containerId, [{ record, devices: record.devices }]));
  } finally {
    handle.close();
  }
}

function lostBy({ store }: Deps, containerId: string, takings: readonly Taking[]): ReturnType<typeof devicesLost> {
  const taken = takings.flatMap(({ devices }) => devices.map(({ grant }) => grant));
  const owners = new Set(taken.map(({ owner }) => owner));
  const left = grantsOf(store, containerId).filter(({ owner }) => !owners.has(owner));
  return devicesLost(taken, left);
}

type Lost = ReturnType<typeof devicesLost>;

function refuseUsers({ engine }: Deps, handle: ContainerHandle, lost: Lost): void {
  const users = engine.usersOf(handle, lost);
  if (users.length > 0) throw busy(users);
}

/** A main process that uses the devices keeps them: nobody has asked for the end of the container. */
async function endIfPossible({ engine, log }: Deps, handle: ContainerHandle, lost: Lost): Promise<void> {
  try {
    await engine.killUsers(handle, lost, { graceMs: TERM_GRACE_MS });
  } catch (err) {
    if (failureOf(err)?.type !== 'DeviceBusy') throw err;
    log.warn({ err, container: handle.containerId }, 'processes still use devices that were taken back');
  }
}

/** Undefined when the container is gone, and with it all that was changed in it. */
function openIfThere({ engine }: Deps, containerId: string): ContainerHandle | undefined {
  try {
    return engine.openContainer({ containerId });
  } catch (err) {
    if (failureOf(err)?.type === 'ContainerNotReady') return undefined;
    throw err;
  }
}
