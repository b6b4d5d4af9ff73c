import { type CgroupRoots, findCgroupRoots } from './cgroup-roots.ts';
import { type OpenContainer, openContainer } from './container.ts';
import type { ContainerHandle, KernelEngine } from './engine.ts';
import { grant, hasDrifted, plan, revoke } from './grant.ts';
import { hostDevice } from './host-device.ts';
import { inspect } from './inspect.ts';
import { killUsers } from './kill-users.ts';
import { devicesOf } from './live-devices.ts';
import { accessTo } from './policy.ts';
import { refuseOldKernel } from './safe-path.ts';
import { usersOf } from './users.ts';

/** Where the host's cgroup hierarchies are mounted; found in /proc/self/mountinfo when not given. */
export interface EngineOptions {
  readonly cgroupRoots?: CgroupRoots;
}

/** The engine on this machine's kernel. Throws `Internal` in a cgroup namespace of its own, and before Linux 5.3. */
export function createEngine({ cgroupRoots = findCgroupRoots() }: EngineOptions = {}): KernelEngine {
  refuseOldKernel();
  /** Handles are made here only, so this is where the engine's part of one is found again. */
  const opened = new WeakMap<ContainerHandle, OpenContainer>();
  const mine = (handle: ContainerHandle): OpenContainer => {
    const container = opened.get(handle);
    if (container === undefined) throw new TypeError('Cannot use a container handle of another engine');
    return container;
  };
  return {
    openContainer(query) {
      const container = openContainer(query, cgroupRoots);
      opened.set(container, container);
      return container;
    },
    plan: (handle, owner, devices, others) => plan(mine(handle), owner, devices, others),
    grant: async (handle, wanted, others) => grant(mine(handle), wanted, others),
    revoke: async (handle, taken, others) => revoke(mine(handle), taken, others),
    drifted: (handle, grants) => hasDrifted(mine(handle), grants),
    usersOf: (handle, devices) => usersOf(mine(handle), devices),
    killUsers: (handle, devices, options) => killUsers(mine(handle), devices, options),
    devicesOf: (handle) => devicesOf(mine(handle)),
    inspect: (handle, grants, more) => inspect(mine(handle), cgroupRoots, grants, more),
    accessTo: (handle, device) => accessTo(mine(handle), [device])[0] ?? '',
    hostDevice,
  };
}
