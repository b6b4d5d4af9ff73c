import { readdirSync, readFileSync } from 'node:fs';
import { hasCode } from './syscall.ts';

/** `cgroup` and all cgroups below it, parents first. */
export function cgroupTree(cgroup: string): readonly string[] {
  const below = childrenOf(cgroup).flatMap((name) => cgroupTree(`${cgroup}/${name}`));
  return [cgroup, ...below];
}

/** Names of the cgroups directly below one; none when it is gone. */
export function childrenOf(cgroup: string): readonly string[] {
  try {
    return readdirSync(cgroup, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch (err) {
    if (hasCode(err, 'ENOENT', 'ENODEV')) return [];
    throw err;
  }
}

/** Processes in a cgroup and below it, in no order. */
export function membersOf(cgroup: string): readonly number[] {
  return cgroupTree(cgroup).flatMap((path) => {
    try {
      return readFileSync(`${path}/cgroup.procs`, 'latin1').split('\n').filter(Boolean).map(Number);
    } catch (err) {
      // EOPNOTSUPP: a threaded cgroup of v2, whose processes are listed by the domain above it.
      if (hasCode(err, 'ENOENT', 'ENODEV', 'EOPNOTSUPP', 'ENOTSUP')) return [];
      throw err;
    }
  });
}
