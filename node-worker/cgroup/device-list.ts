import { ACCESS, accessBits, type DeviceRule } from './rule.ts';

/** One line of a v1 `devices.list`. */
export interface ListEntry {
  readonly type: 'c' | 'b' | 'a';
  readonly major: number | '*';
  readonly minor: number | '*';
  readonly access: number;
}

/** Reads `devices.list` (Documentation/admin-guide/cgroup-v1/devices.rst). Throws RangeError on a line it does not know. */
export function parseDeviceList(text: string): readonly ListEntry[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [, type, major, minor, access] = /^([abc]) (\d+|\*):(\d+|\*) ([rwm]+)$/.exec(line) ?? [];
      if (type === undefined || access === undefined)
        throw new RangeError(`Cannot read devices.list: line is "${line}"`);
      return {
        type: type as 'a' | 'b' | 'c',
        major: major === '*' ? '*' : Number(major),
        minor: minor === '*' ? '*' : Number(minor),
        access: accessBits(access),
      };
    });
}

/**
 * Access bits the list gives to a device. The controller wants one entry that covers all of a request
 * (`match_exception()` in security/device_cgroup.c), so where `r` and `w` are in two entries an open for both fails; `w`
 * is not counted then.
 */
export function listedAccess(list: readonly ListEntry[], device: Pick<DeviceRule, 'type' | 'major' | 'minor'>): number {
  const bits = matching(list, device).reduce((sum, entry) => sum | entry.access, 0);
  const both = ACCESS.r | ACCESS.w;
  return (bits & both) === both && !listAllows(list, device, both) ? bits & ~ACCESS.w : bits;
}

/** Whether one entry covers all of `access`, which is what an open asks. */
export function listAllows(
  list: readonly ListEntry[],
  device: Pick<DeviceRule, 'type' | 'major' | 'minor'>,
  access: number,
): boolean {
  return matching(list, device).some((entry) => (access & ~entry.access) === 0);
}

/** Bits the entry of exactly this device has. */
export function exactAccess(list: readonly ListEntry[], device: Pick<DeviceRule, 'type' | 'major' | 'minor'>): number {
  return list
    .filter(({ type, major, minor }) => type === device.type && major === device.major && minor === device.minor)
    .reduce((bits, entry) => bits | entry.access, 0);
}

function matching(
  list: readonly ListEntry[],
  device: Pick<DeviceRule, 'type' | 'major' | 'minor'>,
): readonly ListEntry[] {
  return list.filter(
    ({ type, major, minor }) =>
      (type === 'a' || type === device.type) &&
      (major === '*' || major === device.major) &&
      (minor === '*' || minor === device.minor),
  );
}
