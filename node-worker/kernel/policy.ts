import { levelsBetween } from '../cgroup/path.ts';
import { accessBits, accessLetters, type DeviceRule, mergeRules } from '../cgroup/rule.ts';
import { allowRules, denyRules, type ExactEntries, exactEntries, listAccess } from './cgroup-v1.ts';
import { effectiveAccess, refuseDeniedAbove, setProgramRules } from './cgroup-v2.ts';
import type { OpenContainer } from './container.ts';
import type { DeviceId, GrantedDevice } from './engine.ts';

/** The device policy of a container, whichever cgroup version decides over it. */

export function accessTo(container: OpenContainer, devices: readonly DeviceId[]): readonly string[] {
  const { version, initPath } = container.cgroup;
  const bits =
    version === 1
      ? devices.map((device) => listAccess(initPath, device))
      : effectiveAccess(initPath, devices, container.hints);
  return bits.map(accessLetters);
}

/** What must be put back at the end, for `GrantedDevice.listedBefore`. */
export function listedBefore(container: OpenContainer, device: DeviceId): ExactEntries {
  return container.cgroup.version === 1 ? exactEntries(container.cgroup.path, device) : {};
}

/** Throws `ContainerUnsupported` when rules in the container's own cgroup cannot give the devices. */
export function checkGrantable(container: OpenContainer, rules: readonly DeviceRule[]): void {
  if (container.cgroup.version === 2) refuseDeniedAbove(container.cgroup.path, rules, container.hints);
}

/** Makes the policy allow all of `wanted`, the rules of every owner. Returns how many rules or programs were changed. */
export function allow(container: OpenContainer, wanted: readonly DeviceRule[]): number {
  if (container.cgroup.version === 1) return allowRules(container.cgroup.path, mergeRules(wanted));
  return setOnLevels(container, mergeRules(wanted));
}

/** Takes `devices` away as far as neither `kept`, the rules of the other owners, nor the time before us gave them. */
export function disallow(
  container: OpenContainer,
  devices: readonly GrantedDevice[],
  kept: readonly DeviceRule[],
): number {
  if (container.cgroup.version === 2) {
    return setOnLevels(container, mergeRules(kept));
  }
  return devices.reduce((sum, device) => {
    const bits = accessBits(device.access) & ~keptBits(kept, device);
    const rule = { ...device, access: accessLetters(bits) };
    return sum + (bits === 0 ? 0 : denyRules(container.cgroup.path, [rule], () => device.listedBefore));
  }, 0);
}

function setOnLevels({ cgroup, hints }: OpenContainer, rules: readonly DeviceRule[]): number {
  const levels = levelsBetween(cgroup.path, cgroup.initPath);
  return levels.reduce((sum, level) => sum + setProgramRules(level, rules, hints), 0);
}

function keptBits(kept: readonly DeviceRule[], { type, major, minor }: DeviceId): number {
  return kept
    .filter((rule) => rule.type === type && rule.major === major && rule.minor === minor)
    .reduce((bits, rule) => bits | accessBits(rule.access), 0);
}
