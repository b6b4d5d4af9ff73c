import { accessSync, constants, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ACCESS, accessLetters } from '../cgroup/rule.ts';
import { S_IFBLK, S_IFCHR } from './device-at.ts';
import { makedev } from './device-number.ts';
import type { DeviceId } from './engine.ts';
import { hasCode, syscall } from './syscall.ts';

/** What a process of ours is to find out. */
export interface Question {
  /** Where the nodes of `devices` are, by `nodeName`. */
  readonly directory: string;
  /** It asks as a member of these. */
  readonly cgroups: readonly string[];
  readonly devices: readonly DeviceId[];
}

/** For each device what is allowed: any of r, w, m. */
export type Answers = readonly string[];

export const nodeName = (index: number): string => String(index);

const AT_FDCWD = -100;

/** Moves this process into the cgroups, for good, and asks there. */
export function answer({ directory, cgroups, devices }: Question): Answers {
  for (const cgroup of cgroups) writeFileSync(join(cgroup, 'cgroup.procs'), '0');
  return devices.map((device, index) => {
    const path = join(directory, nodeName(index));
    const may = (mode: number): boolean => isAllowed(() => accessSync(path, mode));
    const read = may(constants.R_OK);
    const write = may(constants.W_OK);
    // As in the engine's own reading: `w` does not count where an open for both is refused.
    const both = read && write && !may(constants.R_OK | constants.W_OK);
    const bits = (read ? ACCESS.r : 0) | (write && !both ? ACCESS.w : 0) | (mayMake(path, device) ? ACCESS.m : 0);
    return accessLetters(bits);
  });
}

function mayMake(path: string, { type, major, minor }: DeviceId): boolean {
  const other = `${path}.made`;
  const kind = type === 'c' ? S_IFCHR : S_IFBLK;
  const made = isAllowed(() => syscall('mknodat', [AT_FDCWD, other, kind | 0o600, makedev(major, minor)]));
  if (made) unlinkSync(other);
  return made;
}

/** The device policy answers EPERM; what else goes wrong is no answer. */
function isAllowed(call: () => unknown): boolean {
  try {
    call();
    return true;
  } catch (err) {
    if (hasCode(err, 'EPERM')) return false;
    throw err;
  }
}
