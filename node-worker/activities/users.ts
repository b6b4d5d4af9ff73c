import { type FailureCause, fail } from '../../contract/failures.ts';
import { deviceKey } from '../cgroup/rule.ts';
import type { DeviceId, DeviceUser, Grant } from '../kernel/engine.ts';

/** Devices that nothing in the container may use once `taken` is gone and `left` is all that stays. */
export function devicesLost(taken: readonly Grant[], left: readonly Grant[]): readonly DeviceId[] {
  const kept = new Set(left.flatMap(({ devices }) => devices.map(deviceKey)));
  const lost = new Map(taken.flatMap(({ devices }) => devices.map((device) => [deviceKey(device), device] as const)));
  return [...lost].filter(([key]) => !kept.has(key)).map(([, { type, major, minor }]) => ({ type, major, minor }));
}

/** A container may have any number of them, and what Temporal carries has a limit. */
const MAX_NAMED = 20;

/** The failure of taking devices from a container whose processes use them, with a cause for each of the first ones. */
export function busy(users: readonly DeviceUser[]): Error {
  const more = users.length - MAX_NAMED;
  const described = [...users.slice(0, MAX_NAMED).map(describe), ...(more > 0 ? [`${more} more`] : [])];
  const causes: FailureCause[] = described.map((message) => ({ reason: 'Process', message }));
  const message = `Cannot take the devices from the container while they are in use: ${described.join('; ')}`;
  return fail('DeviceBusy', message, undefined, causes);
}

function describe({ pid, command, device, containerInit, via }: DeviceUser): string {
  const how = via === 'map' ? ', mapped' : '';
  return `pid ${pid} (${command}) uses ${device}${how}${containerInit ? ', is the main process of the container' : ''}`;
}
