/** One device cgroup rule of an exact device. `access` is any of r, w, m, in that order, not empty. */
export interface DeviceRule {
  readonly type: 'c' | 'b';
  readonly major: number;
  readonly minor: number;
  readonly access: string;
}

/** Bits of an access, as BPF_DEVCG_ACC_* (include/uapi/linux/bpf.h); the v1 controller uses the same values. */
export const ACCESS = { m: 1, r: 2, w: 4 } as const;
export const ALL_ACCESS = 7;

/** The bits of an access such as `rwm`, in any order. Throws RangeError on another letter. */
export function accessBits(access: string): number {
  let bits = 0;
  for (const letter of access) {
    if (letter !== 'r' && letter !== 'w' && letter !== 'm') {
      throw new RangeError(`Cannot read access "${access}": letters are r, w and m`);
    }
    bits |= ACCESS[letter];
  }
  return bits;
}

/** The letters of access bits, in the order r, w, m. */
export function accessLetters(bits: number): string {
  return `${bits & ACCESS.r ? 'r' : ''}${bits & ACCESS.w ? 'w' : ''}${bits & ACCESS.m ? 'm' : ''}`;
}

/** What makes two rules or nodes speak of the same device: `c 10:229`. */
export function deviceKey(device: Pick<DeviceRule, 'type' | 'major' | 'minor'>): string {
  return `${device.type} ${device.major}:${device.minor}`;
}

/** The union of `rules`: one rule per device, sorted by type, major, minor; rules without access are dropped. */
export function mergeRules(rules: readonly DeviceRule[]): readonly DeviceRule[] {
  const byDevice = new Map<string, DeviceRule>();
  for (const { type, major, minor, access } of rules) {
    const key = deviceKey({ type, major, minor });
    const bits = accessBits(byDevice.get(key)?.access ?? '') | accessBits(access);
    if (bits !== 0) byDevice.set(key, { type, major, minor, access: accessLetters(bits) });
  }
  return [...byDevice.values()].sort((a, b) => a.type.localeCompare(b.type) || a.major - b.major || a.minor - b.minor);
}
