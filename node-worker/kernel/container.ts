import { closeSync, constants, openSync, readFileSync, statSync } from 'node:fs';
import { fail } from '../../contract/failures.ts';
import { containerCgroup, isContainerId, parseProcessCgroups } from '../cgroup/path.ts';
import type { CgroupRoots } from './cgroup-roots.ts';
import { type ContainerDev, devOf, readHostMounts } from './container-dev.ts';
import type { ContainerHandle, ContainerQuery } from './engine.ts';
import { findInit } from './find-container.ts';
import { O_PATH } from './flags.ts';
import { type Freezer, thawIfLeftFrozen } from './freeze.ts';
import { guardOf, type MountGuard, rootGuardOf } from './mount-guard.ts';
import { pidfdHasEnded, pidfdOpen, processStat } from './process.ts';
import { type Hints } from './recover.ts';
import { hasCode } from './syscall.ts';

/** A handle with what only kernel/ uses. */
export interface OpenContainer extends ContainerHandle {
  readonly dev: ContainerDev['kind'];
  /** O_PATH descriptor of the container's root directory. */
  readonly rootFd: number;
  readonly pidfd: number;
  /** Mounts of the host when the handle was opened. */
  readonly hostMounts: string;
  readonly freezer: Freezer | undefined;
  readonly hints: Hints;
  /** Asked of whatever is opened below its root directory. */
  readonly guard: MountGuard;
}

/** See `KernelEngine.openContainer`. Throws `Invalid`, `ContainerNotReady` and `ContainerUnsupported`. */
export function openContainer(
  { containerId, pid: told, init, spec, lookOnly = false }: ContainerQuery,
  roots: CgroupRoots,
): OpenContainer {
  if (!isContainerId(containerId))
    throw fail('Invalid', `Cannot find container "${containerId}": it is not a container id`);
  const pid = told ?? liveInit(init) ?? findInit(containerId, roots);
  const opened: number[] = [];
  try {
    const pidfd = pidfdOpen(pid);
    opened.push(pidfd);
    const { startTime } = processStat(pid);
    const place = placeOf(pid, containerId, roots);
    const rootFd = openSync(`/proc/${pid}/root`, O_PATH | constants.O_DIRECTORY);
    opened.push(rootFd);
    const hostMounts = readHostMounts();
    rootGuardOf(pid, hostMounts)(rootFd);
    const guard = guardOf(pid, hostMounts);
    const dev = devOf(pid, rootFd, hostMounts, guard);
    // Still the process of the pidfd: so all that was read in between was about it, and not about a later one of its pid.
    if (pidfdHasEnded(pidfd)) throw ended(containerId, pid);
    const hints = { spec, granted: [] };
    const read = { startTime, ...place, dev: dev.kind, rootFd, pidfd, hostMounts, hints, guard };
    const handle = handleOf({ containerId, pid, ...read });
    return lookOnly ? handle : thawed(handle);
  } catch (err) {
    for (const fd of opened) closeSync(fd);
    if (hasCode(err, 'EWOULDBLOCK')) throw unanswering(containerId, err);
    if (!hasCode(err, 'ESRCH', 'ENOENT')) throw err;
    throw ended(containerId, pid, err);
  }
}

function liveInit(init: ContainerQuery['init']): number | undefined {
  if (init === undefined) return undefined;
  try {
    const { startTime, state } = processStat(init.pid);
    return startTime === init.startTime && state !== 'Z' ? init.pid : undefined;
  } catch (err) {
    if (hasCode(err, 'ENOENT', 'ESRCH')) return undefined;
    throw err;
  }
}

function ended(containerId: string, pid: number, cause?: unknown): Error {
  return fail('ContainerNotReady', `Cannot use container "${containerId}": its init process ${pid} has ended`, cause);
}

function unanswering(containerId: string, cause: unknown): Error {
  return fail(
    'ContainerUnsupported',
    `Cannot use container "${containerId}": its root directory is on a file system that may never answer`,
    cause,
  );
}

/** A worker that was killed while it had the container frozen is why it would hang for ever. */
function thawed(container: OpenContainer): OpenContainer {
  thawIfLeftFrozen(container);
  return container;
}

function handleOf(data: Omit<OpenContainer, 'isAlive' | 'close'>): OpenContainer {
  let open = true;
  return {
    ...data,
    isAlive: () => open && !pidfdHasEnded(data.pidfd),
    close: () => {
      if (open) for (const fd of [data.pidfd, data.rootFd]) closeSync(fd);
      open = false;
    },
  };
}

/** The hierarchy that counts is the one where the path names the container; v1 decides where both do (hybrid hosts). */
function placeOf(pid: number, containerId: string, roots: CgroupRoots): Pick<OpenContainer, 'cgroup' | 'freezer'> {
  const paths = parseProcessCgroups(readFileSync(`/proc/${pid}/cgroup`, 'utf8'));
  const at = (root: string | undefined, path: string | undefined): { path: string; initPath: string } | undefined => {
    const own = root === undefined || path === undefined ? undefined : containerCgroup(path, containerId);
    return own === undefined ? undefined : { path: root + own, initPath: `${root}${path}` };
  };
  const v1 = at(roots.v1Devices, paths.v1Devices);
  const v2 = at(roots.v2, paths.v2);
  const place = v1 ?? v2;
  if (place === undefined) {
    throw fail(
      'ContainerNotReady',
      `Cannot use container "${containerId}": no cgroup of its process ${pid} names it (is "${paths.v1Devices ?? paths.v2 ?? ''}")`,
    );
  }
  statSync(place.path);
  const v1Freezer = at(roots.v1Freezer, paths.v1Freezer);
  return {
    cgroup: { version: v1 === undefined ? 2 : 1, ...place },
    freezer: v2 ? { version: 2, path: v2.path } : v1Freezer && { version: 1, path: v1Freezer.path },
  };
}
