import { closeSync } from 'node:fs';
import { fail } from '../../contract/failures.ts';
import { type CgroupRoots, findCgroupRoots } from './cgroup-roots.ts';
import { type OpenContainer, openContainer } from './container.ts';
import type { ContainerHandle, KernelEngine } from './engine.ts';
import { grant, hasDrifted, plan, planFiles, revoke } from './grant.ts';
import { HelperPool } from './helper-pool.ts';
import { hostDevice } from './host-device.ts';
import { inspect } from './inspect.ts';
import { killUsers } from './kill-users.ts';
import { devicesOf } from './live-devices.ts';
import { accessTo } from './policy.ts';
import { pidfdOpen } from './process.ts';
import { hasCode } from './syscall.ts';
import { TenantFiles } from './tenant-files.ts';
import { usersOf } from './users.ts';

export interface EngineOptions {
  /** Where the host's cgroup hierarchies are mounted; found in /proc/self/mountinfo when not given. */
  readonly cgroupRoots?: CgroupRoots;
  /** Who looks into containers. One that starts at its first use when not given. */
  readonly helpers?: HelperPool;
}

/** The engine on this machine's kernel. Throws `Internal` in a cgroup namespace of its own, and before Linux 5.3. */
export function createEngine({
  cgroupRoots = findCgroupRoots(),
  helpers = new HelperPool(),
}: EngineOptions = {}): KernelEngine {
  refuseOldKernel();
  const files = new TenantFiles(helpers);
  /** Handles are made here only, so this is where the engine's part of one is found again. */
  const opened = new WeakMap<ContainerHandle, OpenContainer>();
  const mine = (handle: ContainerHandle): OpenContainer => {
    const container = opened.get(handle);
    if (container === undefined) throw new TypeError('Cannot use a container handle of another engine');
    return container;
  };
  return {
    async openContainer(query) {
      const container = await openContainer(query, cgroupRoots, files);
      opened.set(container, container);
      return container;
    },
    plan: (handle, owner, devices, others) => plan(mine(handle), owner, devices, others),
    planFiles: (handle, files, others) => planFiles(mine(handle), files, others),
    grant: async (handle, wanted, others) => grant(mine(handle), wanted, others),
    revoke: async (handle, taken, others) => revoke(mine(handle), taken, others),
    drifted: (handle, grants, others) => hasDrifted(mine(handle), grants, others),
    usersOf: (handle, devices) => usersOf(mine(handle), devices),
    killUsers: (handle, devices, options) => killUsers(mine(handle), devices, options),
    devicesOf: (handle) => devicesOf(mine(handle)),
    hasAnyFile: (handle, paths) => mine(handle).files.hasAnyFile(mine(handle), paths),
    inspect: (handle, grants, more) => inspect(mine(handle), cgroupRoots, grants, more),
    accessTo: (handle, device) => accessTo(mine(handle), [device])[0] ?? '',
    hostDevice,
  };
}

/**
 * Throws `Internal` on kernels before 5.3, where a process can only be named by a pid, which may be used again. Asked of the
 * kernel: distributions add system calls to older versions. What later kernels have is tried where it is needed.
 */
function refuseOldKernel(): void {
  try {
    closeSync(pidfdOpen(process.pid));
  } catch (err) {
    if (!hasCode(err, 'ENOSYS')) throw err;
    throw fail('Internal', 'Cannot change containers: the kernel must have pidfd_open (Linux 5.3), has not', err);
  }
}
