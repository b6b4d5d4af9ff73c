import { existsSync, readdirSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasCode } from '../../node-worker/kernel/syscall.ts';

/** Everything the tests make lies below a directory of this name: bundles, runtime state and cgroups. */
export const NAME = 'device-mounter-kernel-test';
export const WORK = join(tmpdir(), NAME);
export const V1_ROOT = '/sys/fs/cgroup';
export const V2_ROOT = '/sys/fs/cgroup/unified';

/** Removes a cgroup and those below it, but for those that have processes, also such that have just ended. */
export function removeTree(cgroup: string): void {
  if (!existsSync(cgroup)) return;
  for (const entry of readdirSync(cgroup, { withFileTypes: true })) {
    if (entry.isDirectory()) removeTree(join(cgroup, entry.name));
  }
  try {
    rmdirSync(cgroup);
  } catch (err) {
    if (!hasCode(err, 'EBUSY', 'ENOENT')) throw err;
  }
}
