import { readFileSync } from 'node:fs';
import { fail } from '../../contract/failures.ts';
import { isContainerDirectory } from '../cgroup/path.ts';
import type { CgroupRoots } from './cgroup-roots.ts';
import { childrenOf, membersOf } from './cgroup-tree.ts';
import { processStat } from './process.ts';
import { hasCode } from './syscall.ts';

/** Deeper than any runtime nests a container below the root, and an end for trees that tenants make. */
const MAX_DEPTH = 12;

/**
 * The init process of a container, found by the name of its cgroup without asking the runtime: the one that started first.
 * Throws `ContainerNotReady` when there is none.
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

/**
 * All others descend from it, or were put beside it later. Process 1 of a pid namespace need not be it: a container that shares
 * its pod's has none, but may hold nested ones. Nor need the least depth be it: a runtime that starts one more process comes
 * from the host's namespace. Among those of one clock tick (10 ms) its namespace is the outermost, and it is the first there.
 */
function initOf(pids: readonly number[]): number | undefined {
  const found = pids.flatMap((pid) => {
    try {
      const { levels, own } = namespacePids(pid);
      return [{ pid, levels, own, startTime: BigInt(processStat(pid).startTime) }];
    } catch (err) {
      if (hasCode(err, 'ENOENT', 'ESRCH')) return [];
      throw err;
    }
  });
  found.sort((a, b) => Number(a.startTime - b.startTime) || a.levels - b.levels || a.own - b.own);
  return found[0]?.pid;
}

/** How deep the pid namespace of a process is nested, and its pid there. */
function namespacePids(pid: number): { readonly levels: number; readonly own: number } {
  const line = /^NSpid:\t(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? '';
  const ids = line.split('\t');
  return { levels: ids.length, own: Number(ids.at(-1)) };
}
