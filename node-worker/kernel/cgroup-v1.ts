import { readFileSync, writeFileSync } from 'node:fs';
import { fail } from '../../contract/failures.ts';
import { exactAccess, type ListEntry, listAllows, listedAccess, parseDeviceList } from '../cgroup/device-list.ts';
import { accessBits, accessLetters, type DeviceRule, deviceKey } from '../cgroup/rule.ts';
import { cgroupTree } from './cgroup-tree.ts';
import { hasCode } from './syscall.ts';

/** Exact entries that some cgroups had for a device before us: directory relative to the container's, access. */
export type ExactEntries = Readonly<Record<string, string>>;

type DeviceId = Pick<DeviceRule, 'type' | 'major' | 'minor'>;

/** A nested runtime may make cgroups while we write; each pass finds what the last one missed. */
const MAX_PASSES = 5;

export const readDeviceListText = (cgroup: string): string => readFileSync(`${cgroup}/devices.list`, 'latin1');

const readDeviceList = (cgroup: string): readonly ListEntry[] => parseDeviceList(readDeviceListText(cgroup));

/** Access bits a process in `cgroup` has to a device. */
export function listAccess(cgroup: string, device: DeviceId): number {
  return listedAccess(readDeviceList(cgroup), device);
}

/** What `denyRules` must put back: entries of exactly this device in the container's cgroups. */
export function exactEntries(cgroup: string, device: DeviceId): ExactEntries {
  const entries = cgroupTree(cgroup).map((path) => [
    path.slice(cgroup.length),
    accessLetters(exactAccess(readIfThere(path) ?? [], device)),
  ]);
  return Object.fromEntries(entries.filter(([, access]) => access !== ''));
}

/**
 * Allows `rules` in `cgroup` and in every cgroup below, top-down, because a child may never have more than its parent.
 * One rule per write(2): the kernel reads only the first line. Idempotent; returns how many rules were written. Throws
 * `ContainerUnsupported` when a cgroup above refuses the device.
 */
export function allowRules(cgroup: string, rules: readonly DeviceRule[]): number {
  let total = 0;
  for (let pass = 0; pass < MAX_PASSES; pass++) {
    const written = cgroupTree(cgroup).reduce((sum, path) => sum + allowIn(path, rules), 0);
    total += written;
    if (written === 0) break;
  }
  return total;
}

function allowIn(path: string, rules: readonly DeviceRule[]): number {
  const list = readIfThere(path);
  if (list === undefined) return 0;
  const missing = rules.filter((rule) => !listAllows(list, rule, accessBits(rule.access)));
  for (const rule of missing) {
    try {
      writeRule(path, 'devices.allow', rule, rule.access);
    } catch (err) {
      if (!hasCode(err, 'EPERM')) throw err;
      throw fail(
        'ContainerUnsupported',
        `Cannot allow "${deviceKey(rule)}" in "${path}": the cgroup above refuses it`,
        err,
      );
    }
  }
  return missing.length;
}

/**
 * Takes the access of `rules` away again in `cgroup` and below, but for the entries that were there before us (`before`).
 * The kernel hands a deny down to all children, so their own entries are put back after it. Where everything is allowed
 * nothing is written: it would be a new refusal. Undo of nothing writes nothing. Returns how many rules were written.
 */
export function denyRules(
  cgroup: string,
  rules: readonly DeviceRule[],
  before: (device: DeviceId) => ExactEntries,
): number {
  const tree = cgroupTree(cgroup);
  return rules.reduce((sum, rule) => {
    const there = before(rule);
    const entry = (path: string): number => accessBits(there[path.slice(cgroup.length)] ?? '');
    const denied = tree.filter((path) => denyIn(path, rule, entry(path)));
    const restored = tree.filter((path) => restoreIn(path, rule, entry(path)));
    return sum + denied.length + restored.length;
  }, 0);
}

function denyIn(path: string, rule: DeviceRule, before: number): boolean {
  const list = readIfThere(path);
  if (list === undefined || list.some(({ type }) => type === 'a')) return false;
  const extra = accessBits(rule.access) & ~before & exactAccess(list, rule);
  if (extra !== 0) writeRule(path, 'devices.deny', rule, accessLetters(extra));
  return extra !== 0;
}

function restoreIn(path: string, rule: DeviceRule, before: number): boolean {
  const list = before === 0 ? undefined : readIfThere(path);
  const lost = list === undefined ? 0 : before & ~exactAccess(list, rule);
  if (lost !== 0) writeRule(path, 'devices.allow', rule, accessLetters(lost));
  return lost !== 0;
}

function readIfThere(cgroup: string): readonly ListEntry[] | undefined {
  try {
    return readDeviceList(cgroup);
  } catch (err) {
    if (hasCode(err, 'ENOENT', 'ENODEV')) return undefined;
    throw err;
  }
}

function writeRule(cgroup: string, file: 'devices.allow' | 'devices.deny', device: DeviceId, access: string): void {
  writeFileSync(`${cgroup}/${file}`, `${deviceKey(device)} ${access}`, { flag: 'r+' });
}
