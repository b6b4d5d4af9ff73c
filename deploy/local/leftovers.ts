import { existsSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { POD_RANGE } from './addresses.ts';
import { removeCgroups } from './cgroup.ts';
import { describedNodes, describedSysctls } from './cluster.ts';
import { otherHolder, releaseMachine, removeAddresses } from './machine.ts';
import { removeNetwork, TEMPORAL_NETWORK } from './networks.ts';
import { removeMountPoints } from './node/namespace.ts';
import type { NodePlan } from './node/plan.ts';
import type { Progress } from './progress.ts';
import { run } from './run.ts';
import { OWNER_VARIABLE } from './server.ts';
import { isDescribed, type StatePaths } from './state.ts';
import { writeSysctls } from './sysctls.ts';
import { until } from './wait.ts';

/** What is looked at to tell whether a process belongs to a cluster. */
export interface ProcessTraces {
  /** /proc/PID/environ, NUL-separated. */
  readonly environ: string;
  /** /proc/PID/mountinfo. */
  readonly mountinfo: string;
  /** Link text of /proc/PID/ns/mnt. */
  readonly mountNamespace: string;
}

/**
 * Whether a process is of the cluster under `root`: a server or its descendant (environment), a process that entered a node (mount
 * namespace), or one of a container (its root file system lies in the node's containerd folder).
 */
export function belongsTo(root: string, namespaces: readonly string[], traces: ProcessTraces): boolean {
  return (
    namespaces.includes(traces.mountNamespace) ||
    traces.environ.split('\0').includes(`${OWNER_VARIABLE}=${root}`) ||
    traces.mountinfo.includes(`upperdir=${root}/`)
  );
}

function tracesOf(pid: string): ProcessTraces | undefined {
  try {
    return {
      environ: readFileSync(`/proc/${pid}/environ`, 'utf8'),
      mountinfo: readFileSync(`/proc/${pid}/mountinfo`, 'utf8'),
      mountNamespace: readlinkSync(`/proc/${pid}/ns/mnt`),
    };
  } catch {
    // Ended meanwhile, or a zombie.
    return undefined;
  }
}

/** Pids of the cluster under `root`; `namespaces` are the link texts of its nodes' mount namespaces. */
export function processesOf(root: string, namespaces: readonly string[]): number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  return pids
    .filter((pid) => {
      const traces = tracesOf(pid);
      return traces !== undefined && belongsTo(root, namespaces, traces);
    })
    .map(Number);
}

function namespaceLinks(folder: string): string[] {
  if (!existsSync(folder)) return [];
  const inodes = readdirSync(folder).map((name) => statSync(join(folder, name)).ino);
  return inodes.map((inode) => `mnt:[${inode}]`);
}

/** Ends every process of the cluster with SIGKILL, until none is left: what is killed may just have started another. */
async function endProcesses(paths: StatePaths): Promise<void> {
  const namespaces = namespaceLinks(paths.namespaces);
  const none = (): boolean => {
    const pids = processesOf(paths.root, namespaces);
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // Ended meanwhile.
      }
    }
    return pids.length === 0;
  };
  await until('the processes of the local cluster to end', none, { timeoutMs: 30_000, everyMs: 10 });
}

/** Unmounts, deepest first, whatever is mounted under `root` on the host. */
async function unmountBelow(root: string): Promise<void> {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '');
  const ours = mounts.filter((target) => target.startsWith(`${root}/`));
  for (const target of ours.reverse()) await run('umount', ['-l', target]);
}

async function removeNetworks(nodes: readonly NodePlan[]): Promise<void> {
  // The kernel takes a network namespace down some time after its last process; its routes would catch the next pods' traffic. First of all:
  // connections that processes have left in it stay for minutes when nobody is at the other end's address any more to refuse them.
  await until('the routes of the pods to be gone', podRoutesGone, { timeoutMs: 20_000 });
  const tables = await run('nft', ['list', 'tables']);
  for (const family of ['ip', 'ip6']) {
    if (tables.includes(`table ${family} kube-proxy\n`)) await run('nft', ['delete', 'table', family, 'kube-proxy']);
  }
  await removeNetwork(TEMPORAL_NETWORK);
  await removeAddresses(nodes);
}

async function podRoutesGone(): Promise<boolean> {
  return (await run('ip', ['route', 'show', 'root', POD_RANGE])) === '';
}

/** Takes down all that the cluster under `paths` is or left behind, whatever state it is in. */
export async function removeCluster(paths: StatePaths, nodes: readonly NodePlan[]): Promise<void> {
  await endProcesses(paths);
  await unmountBelow(paths.root);
  await removeCgroups(nodes);
  await removeNetworks(nodes);
  writeSysctls(describedSysctls(paths));
  for (const folder of [paths.pids, paths.namespaces]) rmSync(folder, { recursive: true, force: true });
  removeMountPoints(paths);
  releaseMachine(paths);
  rmSync(paths.description, { force: true });
}

/** Takes down what an earlier run under `paths` is or left, and another folder's cluster that was cut off. Throws when that one runs. */
export async function removeEarlier(paths: StatePaths, progress: Progress): Promise<void> {
  if (isDescribed(paths))
    await progress.step('remove what an earlier run left', () => removeCluster(paths, describedNodes(paths)));
  const other = otherHolder(paths);
  if (other === undefined) return;
  if (processesOf(other.root, []).length > 0)
    throw new Error(
      `Cannot start: the local cluster of "${other.root}" runs on this machine; end it with npm stop there.`,
    );
  const title = `remove what a cluster of ${other.root} left`;
  await progress.step(title, () => removeCluster(other, describedNodes(other)));
}
