import { readdirSync, readFileSync } from 'node:fs';
import { fail } from '../../contract/failures.ts';
import { isContainerDirectory } from '../cgroup/path.ts';
import type { CgroupRoots } from './cgroup-roots.ts';
import { cgroupTree } from './cgroup-v1.ts';
import { processStat } from './process.ts';
import { hasCode } from './syscall.ts';

/** Deeper than any runtime nests a container below the root, and an end for trees that tenants make. */
const MAX_DEPTH = 12;

/**
 * The init process of a container, found by the name of its cgroup without asking the runtime: process 1 of its pid
 * namespace, or the one that started first. Throws `ContainerNotReady` when there is none.
 */
export function findInit(containerId: string, roots: CgroupRoots): number {
  for (const root of [roots.v1Devices, roots.v2]) {
    const cgroup = root === undefined ? undefined : findContainerCgroup(root, containerId);
    const init = cgroup === undefined ? undefined : initOf(membersOf(cgroup));
    if (init !== undefined) return init;
  }
  throw fail(
    'ContainerNotReady',
    `Cannot find container "${containerId}": no cgroup with a process in it has its name`,
  );
}

/**
 * The container's directory nearest to the root: a tenant can make one of any name, but only below its own. Two at the
 * same depth are an attack or a fault and give nothing.
 */
function findContainerCgroup(root: string, containerId: string): string | undefined {
  let level = [root];
  for (let depth = 0; depth < MAX_DEPTH && level.length > 0; depth++) {
    const children = level.flatMap((path) => childrenOf(path).map((name) => ({ path: `${path}/${name}`, name })));
    const found = children.filter(({ name }) => isContainerDirectory(name, containerId));
    if (found.length > 1)
      throw fail('ContainerNotReady', `Cannot find container "${containerId}": several cgroups have its name`);
    if (found[0] !== undefined) return found[0].path;
    level = children.map(({ path }) => path);
  }
  return undefined;
}

function childrenOf(directory: string): readonly string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
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

function initOf(pids: readonly number[]): number | undefined {
  const found = pids.flatMap((pid) => {
    try {
      const depth = namespaceDepth(pid);
      return [{ pid, isInit: depth.isInit, levels: depth.levels, startTime: BigInt(processStat(pid).startTime) }];
    } catch (err) {
      if (hasCode(err, 'ENOENT', 'ESRCH')) return [];
      throw err;
    }
  });
  // A nested container's init is in a deeper pid namespace, and started later than ours.
  found.sort((a, b) => Number(b.isInit) - Number(a.isInit) || a.levels - b.levels || Number(a.startTime - b.startTime));
  return found[0]?.pid;
}

function namespaceDepth(pid: number): { readonly isInit: boolean; readonly levels: number } {
  const line = /^NSpid:\t(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? '';
  const ids = line.split('\t');
  return { isInit: ids.length > 1 && ids.at(-1) === '1', levels: ids.length };
}
