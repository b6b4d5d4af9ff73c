import { type FailureCause, fail } from '../../contract/failures.ts';
import { deviceKey } from '../cgroup/rule.ts';
import { stillAllowed } from '../cgroup/still-allowed.ts';
import type { DeviceId, DeviceUser, Grant } from '../kernel/engine.ts';

/** What became of the processes that used the devices. */
export interface Users {
  /** Were sent signals; those that are also in `left` have not ended yet. */
  readonly ended: readonly DeviceUser[];
  readonly left: readonly DeviceUser[];
}

/**
 * Devices that nothing in the container may use once `taken` is gone and `left` is all that stays. What it had by itself, its
 * own GPU or one that all share, is none of them.
 */
export function devicesLost(taken: readonly Grant[], left: readonly Grant[]): readonly DeviceId[] {
  const devices = taken.flatMap((grant) => grant.devices);
  const allowed = new Set(
    stillAllowed(
      devices,
      left.flatMap((grant) => grant.devices),
    ),
  );
  const lost = new Map(
    devices.map(({ type, major, minor }) => [deviceKey({ type, major, minor }), { type, major, minor }]),
  );
  return [...lost].filter(([key]) => !allowed.has(key)).map(([, device]) => device);
}

/** A container may have any number of them, and what Temporal carries has a limit. */
const MAX_NAMED = 20;

/** The failure of taking devices from a container whose processes use them, with a cause for each of the first ones. */
export function busy(users: readonly DeviceUser[]): Error {
  const described = describeSome(users);
  const causes: FailureCause[] = described.map((message) => ({ reason: 'Process', message }));
  const init = users.some(({ containerInit }) => containerInit);
  const hint = init ? '. Unmounting by force (force=1) would end the container: its main process is one of them' : '';
  const message = `Cannot take the devices from the container while they are in use: ${described.join('; ')}${hint}`;
  return fail('DeviceBusy', message, undefined, causes);
}

/** The failure of a step whose processes were killed and have not ended yet; it is tried again until they have. */
export function stillUsed(users: readonly DeviceUser[]): Error {
  return fail('Internal', `Cannot free the devices: killed, but not ended by the kernel yet: ${usersText(users)}`);
}

/** For people: `pid 7 (cat) uses c 10:229; pid 8 (sh) …`. */
export function usersText(users: readonly DeviceUser[]): string {
  return describeSome(users).join('; ');
}

function describeSome(users: readonly DeviceUser[]): readonly string[] {
  const more = users.length - MAX_NAMED;
  return [...users.slice(0, MAX_NAMED).map(describe), ...(more > 0 ? [`${more} more`] : [])];
}

const HOW = {
  fd: (device: string) => `uses ${device}`,
  map: (device: string) => `uses ${device}, mapped`,
  unknown: (device: string) => `may use ${device}, which could not be found out`,
} as const satisfies Record<DeviceUser['via'], (device: string) => string>;

function describe({ pid, command, device, containerInit, via }: DeviceUser): string {
  return `pid ${pid} (${command}) ${HOW[via](device)}${containerInit ? ', is the main process of the container' : ''}`;
}
