import { existsSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Everything the tests make lies below a directory of this name: bundles, runtime state and cgroups. */
export const NAME = 'device-mounter-kernel-test';
export const WORK = join(tmpdir(), NAME);
export const V1_ROOT = '/sys/fs/cgroup';
export const V2_ROOT = '/sys/fs/cgroup/unified';

/** Removes a cgroup and those below it, but for those that have processes. */
export function removeTree(cgroup: string): void {
  if (!existsSync(cgroup)) return;
  for (const entry of readdirSync(cgroup, { withFileTypes: true })) {
    if (entry.isDirectory()) removeTree(join(cgroup, entry.name));
  }
  if (readFileSync(join(cgroup, 'cgroup.procs'), 'utf8') === '') rmdirSync(cgroup);
}
