import { fail } from '../../contract/failures.ts';
import { isContainerDirectory } from '../cgroup/path.ts';
import type { CgroupRoots } from './cgroup-roots.ts';
import { childrenOf, membersOf } from './cgroup-tree.ts';
import type { TenantFiles } from './tenant-files.ts';

/** Deeper than any runtime nests a container below the root, and an end for trees that tenants make. */
const MAX_DEPTH = 12;

/**
 * The init process of a container, found by the name of its cgroup without asking the runtime. Throws `ContainerNotReady` when there is
 * none, and `ContainerStuck`.
 */
export async function findInit(containerId: string, roots: CgroupRoots, files: TenantFiles): Promise<number> {
  for (const root of [roots.v1Devices, roots.v2]) {
    const cgroup = root === undefined ? undefined : findContainerCgroup(root, containerId);
    const members = cgroup === undefined ? [] : membersOf(cgroup);
    const init = members.length === 0 ? undefined : await files.initOf(containerId, members);
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
