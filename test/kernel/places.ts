import { existsSync, readFileSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { cgroupHost } from '../../deploy/local/cgroup.ts';

/** Everything the tests make lies below a directory of this name: bundles, runtime state and cgroups. */
export const NAME = 'device-mounter-kernel-test';
export const WORK = join(tmpdir(), NAME);

const { hybrid } = cgroupHost();
export const V1_ROOT = '/sys/fs/cgroup';
export const V2_ROOT = hybrid ? '/sys/fs/cgroup/unified' : '/sys/fs/cgroup';
/** The v1 hierarchy of the `pids` controller, if any. `npm run test:host-v2` names that of the machine. */
export const PIDS_ROOT = process.env['DEVICE_MOUNTER_MACHINE_PIDS'] ?? (hybrid ? `${V1_ROOT}/pids` : undefined);
/** Those that containers of this host can be on: tables go over them. */
export const CGROUP_VERSIONS: readonly (1 | 2)[] = hybrid ? [1, 2] : [2];

type Row = readonly [string, { readonly cgroupVersion: 1 | 2 }];

/** The rows of a table that this host has the cgroup version for. */
export const possible = <T extends Row>(rows: readonly T[]): readonly T[] =>
  rows.filter(([, { cgroupVersion }]) => CGROUP_VERSIONS.includes(cgroupVersion));

/** One sentence for the summary of `npm test` where the tests of cgroup v1 cannot be, else `undefined`. */
export const withoutV1 = (): string | undefined =>
  hybrid ? undefined : 'This host has no cgroup v1: the kernel tests of v1 are left out.';

/** The same where the kernel, with all of its modules, has no btrfs. */
export const withoutBtrfs = (): string | undefined =>
  ['/proc/filesystems', `/lib/modules/${release()}/modules.dep`].some(
    (file) => existsSync(file) && readFileSync(file, 'utf8').includes('btrfs'),
  )
    ? undefined
    : 'This kernel has no btrfs: the kernel test of it is left out.';
