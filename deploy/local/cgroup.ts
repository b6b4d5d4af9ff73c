import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CgroupHost, NodePlan } from './node/plan.ts';
import { until } from './wait.ts';

const ROOT = '/sys/fs/cgroup';

/** Reads which cgroup hierarchies this machine has. Throws when none of the two layouts that the nodes need is there. */
export function cgroupHost(): CgroupHost {
  for (const root of [ROOT, join(ROOT, 'unified')]) {
    const controllers = join(root, 'cgroup.controllers');
    if (!existsSync(controllers)) continue;
    const names = readFileSync(controllers, 'utf8').trim().split(' ');
    return { hybrid: root !== ROOT, v2Controllers: names };
  }
  throw new Error('Cannot start: cgroup v2 is needed on /sys/fs/cgroup, or beside v1 on /sys/fs/cgroup/unified.');
}

/** Every mounted hierarchy: `/sys/fs/cgroup` itself on a v2 host, else the folders below it. */
export function hierarchies(): string[] {
  if (existsSync(join(ROOT, 'cgroup.controllers'))) return [ROOT];
  return readdirSync(ROOT).map((name) => join(ROOT, name));
}

/** Makes the cgroup that holds a node's pods, with every controller that v2 has. The root needs nothing. */
export function preparePodsCgroup(plan: NodePlan): void {
  if (plan.podsCgroup === '/') return;
  const folder = join(plan.cgroupRoot, plan.podsCgroup);
  mkdirSync(folder, { recursive: true });
  const controllers = readFileSync(join(plan.cgroupRoot, 'cgroup.controllers'), 'utf8').trim().split(' ');
  for (const group of [plan.cgroupRoot, folder]) {
    for (const controller of controllers)
      attempt(() => writeFileSync(join(group, 'cgroup.subtree_control'), `+${controller}`));
  }
}

/** Cgroups of kubelets at the root of a hierarchy: the cgroupfs driver makes `kubepods`, that of systemd `kubepods.slice`. */
export const KUBELET_CGROUPS = ['kubepods', 'kubepods.slice'];

/** Removes the empty cgroups that kubelets and containerd of these nodes made. */
export async function removeCgroups(nodes: readonly Pick<NodePlan, 'name'>[]): Promise<void> {
  const names = [...KUBELET_CGROUPS, 'k8s.io', ...nodes.map(({ name }) => name)];
  const folders = hierarchies().flatMap((hierarchy) => names.map((name) => join(hierarchy, name)));
  for (const folder of folders) {
    // A cgroup is busy for a moment after its last process was killed.
    await until(`cgroup ${folder} to be removed`, () => removeTree(folder), { timeoutMs: 10_000 });
  }
}

/** Removes a cgroup and those below it, but for those that have processes. Answers whether it is gone. */
export function removeTree(folder: string): boolean {
  for (const cgroup of [folder, ...cgroupsBelow(folder)].reverse()) attempt(() => rmdirSync(cgroup));
  return !existsSync(folder);
}

/** Every cgroup below `folder`, parents first. Files of a cgroup are none; it may end while it is read. */
export function cgroupsBelow(folder: string): string[] {
  const entries = attempt(() => readdirSync(folder, { withFileTypes: true })) ?? [];
  const children = entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(folder, name));
  return children.flatMap((child) => [child, ...cgroupsBelow(child)]);
}

function attempt<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch {
    return undefined;
  }
}
