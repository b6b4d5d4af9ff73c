import { existsSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { hierarchies, KUBELET_CGROUPS, removeTree } from '../../deploy/local/cgroup.ts';
import { processesOf } from '../../deploy/local/leftovers.ts';
import type { ClusterNode } from '../../deploy/local/node/node.ts';
import { until } from './until.ts';

/** Folders of a node that a real one has in memory. */
const IN_MEMORY = ['run-containerd', 'run-cdi', 'run-nvidia'];
/** Below these are the mounts that its kubelet, its runtime and its network plugins have made. */
const MOUNTED_BELOW = ['/run/containerd/', '/run/netns/cni-', '/var/lib/kubelet/'];

/**
 * Takes a node's power away: every process ends at once, and what is not on its disk is gone: mounts, cgroups, network namespaces, /run.
 * Not for a node with a systemd of its own.
 */
export async function losePower(node: ClusterNode): Promise<void> {
  const namespace = `mnt:[${statSync(node.paths.namespace).ino}]`;
  await until(
    `all processes of ${node.name} to end`,
    () => Promise.resolve(endProcesses(node, namespace)),
    undefined,
    10,
  );
  for (const target of (await mountsOf(node)).reverse()) {
    await node.run('umount', ['--lazy', target]);
    if (target.startsWith('/run/netns/')) rmSync(target);
  }
  for (const folder of IN_MEMORY) {
    const path = join(node.paths.root, folder);
    await node.run('find', [path, '-mindepth', '1', '-delete']);
  }
  removeCgroups(node);
}

function endProcesses({ paths }: ClusterNode, namespace: string): boolean {
  const pids = processesOf(paths.root, [namespace]);
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // Ended meanwhile.
    }
  }
  return pids.length === 0;
}

/** In the order in which they were made. */
async function mountsOf(node: ClusterNode): Promise<string[]> {
  const lines = (await node.run('cat', ['/proc/self/mountinfo'])).split('\n');
  const targets = lines.map((line) => line.split(' ')[4] ?? '');
  return targets.filter((target) => MOUNTED_BELOW.some((start) => target.startsWith(start)));
}

/** On v1 a kubelet has some in each hierarchy. On a hybrid host runc gives containers of v1 one in that of v2, too: that of another node stays. */
function removeCgroups({ cgroup, cgroupRoot, podsCgroup }: ClusterNode): void {
  const v1 = hierarchies().filter((hierarchy) => !existsSync(join(hierarchy, 'cgroup.controllers')));
  const roots = cgroup === 1 ? v1 : [join(cgroupRoot, podsCgroup)];
  for (const root of roots) for (const name of KUBELET_CGROUPS) removeTree(join(root, name));
}
