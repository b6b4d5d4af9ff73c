import { ACCESS, accessBits, type DeviceRule, deviceKey } from './rule.ts';

/** A rule that was given to a container, and what it could do with the device before. */
export interface GivenRule extends DeviceRule {
  readonly accessBefore: string;
}

/**
 * Devices of `taken`, by `deviceKey`, that the container may go on to read and write as it was given: it could before, or
 * `kept`, the rules of others, gives it. Who uses one of these loses nothing. To make nodes (`m`) is no use of a device.
 */
export function stillAllowed(taken: readonly GivenRule[], kept: readonly DeviceRule[]): readonly string[] {
  const lost = new Set(taken.filter((device) => losesAny(device, kept)).map(deviceKey));
  return [...new Set(taken.map(deviceKey))].filter((key) => !lost.has(key));
}

function losesAny(device: GivenRule, kept: readonly DeviceRule[]): boolean {
  const others = kept.filter((other) => deviceKey(other) === deviceKey(device));
  const left = others.reduce((bits, { access }) => bits | accessBits(access), accessBits(device.accessBefore));
  return (accessBits(device.access) & ~left & ~ACCESS.m) !== 0;
}
