import { closeSync, readFileSync, statSync } from 'node:fs';
import { fail } from '../../contract/failures.ts';
import { containerCgroup, isContainerId, parseProcessCgroups } from '../cgroup/path.ts';
import type { CgroupRoots } from './cgroup-roots.ts';
import type { ContainerHandle, ContainerQuery } from './engine.ts';
import { findInit } from './find-container.ts';
import { type Freezer, thawIfLeftFrozen } from './freeze.ts';
import { pidfdHasEnded, pidfdOpen } from './process.ts';
import { isOfContainer } from './process-of-container.ts';
import { type Hints } from './recover.ts';
import { hasCode } from './syscall.ts';
import type { TenantFiles } from './tenant-files.ts';

/** A handle with what only kernel/ uses. Nothing in it is held or read that a tenant could make slow. */
export interface OpenContainer extends ContainerHandle {
  readonly pidfd: number;
  readonly freezer: Freezer | undefined;
  readonly hints: Hints;
  /** What else is asked of it. */
  readonly files: TenantFiles;
}

/** See `KernelEngine.openContainer`. Throws `Invalid`, `ContainerNotReady` and `ContainerStuck`. */
export async function openContainer(
  { containerId, pid: told, init, spec, lookOnly = false }: ContainerQuery,
  roots: CgroupRoots,
  files: TenantFiles,
): Promise<OpenContainer> {
  if (!isContainerId(containerId))
    throw fail('Invalid', `Cannot find container "${containerId}": it is not a container id`);
  const pid = told ?? liveInit(init, containerId) ?? (await findInit(containerId, roots, files));
  let pidfd: number | undefined;
  try {
    pidfd = pidfdOpen(pid);
    const place = placeOf(pid, containerId, roots);
    // Still the process of the pidfd: so all that was read in between was about it, and not about a later one of its pid.
    if (pidfdHasEnded(pidfd)) throw ended(containerId, pid);
    const handle = handleOf({ containerId, pid, ...place, pidfd, files, hints: { spec, granted: [] } });
    return lookOnly ? handle : thawed(handle);
  } catch (err) {
    if (pidfd !== undefined) closeSync(pidfd);
    if (!hasCode(err, 'ESRCH', 'ENOENT')) throw err;
    throw ended(containerId, pid, err);
  }
}

/** Nothing here waits for the process, as its /proc/PID/stat does while it is in an execve(2). */
function liveInit(init: ContainerQuery['init'], containerId: string): number | undefined {
  if (init === undefined) return undefined;
  try {
    const isZombie = /^State:\tZ/m.test(readFileSync(`/proc/${init.pid}/status`, 'latin1'));
    return !isZombie && isOfContainer(init.pid, containerId) ? init.pid : undefined;
  } catch (err) {
    if (hasCode(err, 'ENOENT', 'ESRCH')) return undefined;
    throw err;
  }
}

function ended(containerId: string, pid: number, cause?: unknown): Error {
  return fail('ContainerNotReady', `Cannot use container "${containerId}": its init process ${pid} has ended`, cause);
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
      if (open) closeSync(data.pidfd);
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
