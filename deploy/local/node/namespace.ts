import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { cpus } from 'node:os';
import { run } from '../run.ts';
import type { StatePaths } from '../state.ts';
import { MOUNT_POINTS, type NodePaths } from './paths.ts';
import type { NodePlan } from './plan.ts';

/** `'` ends the quotes, `\'` is one, `'` begins again. */
export const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** Shell text that turns a fresh mount namespace into the node's: its own folders on the names that production uses. */
export function namespaceScript(plan: NodePlan, paths: NodePaths): string {
  const lines = ['set -e'];
  // On a hybrid host this shows a pure v2 one.
  if (plan.cgroupRoot !== '/sys/fs/cgroup') lines.push(`mount --bind ${quoted(plan.cgroupRoot)} /sys/fs/cgroup`);
  for (const [folder, name] of Object.entries(paths.binds))
    lines.push(`mount --bind ${quoted(folder)} ${quoted(name)}`);
  // Pods with `mountPropagation: Bidirectional`, and the kubelet's own volumes, need shared mounts.
  lines.push('mount --make-rshared /');
  return lines.join('\n');
}

/** Makes the machine's folders that nodes mount theirs on, and records which of them were not there. */
export function makeMountPoints({ mountPoints }: StatePaths): void {
  for (const folder of MOUNT_POINTS) {
    const first = mkdirSync(folder, { recursive: true });
    if (first !== undefined) appendFileSync(mountPoints, `${folder}\n`);
  }
}

/** Removes those that were made, unless something else has put a file there. */
export function removeMountPoints({ mountPoints }: StatePaths): void {
  if (!existsSync(mountPoints)) return;
  const made = readFileSync(mountPoints, 'utf8').split('\n').filter(Boolean);
  for (const folder of made) if (existsSync(folder) && readdirSync(folder).length === 0) rmdirSync(folder);
  rmSync(mountPoints);
}

/** Makes the mount namespace of a node, kept by a bound file, so that no process has to hold it. */
export async function createNamespace(plan: NodePlan, paths: NodePaths): Promise<void> {
  for (const folder of Object.keys(paths.binds)) mkdirSync(folder, { recursive: true });
  writeFileSync(paths.namespace, '');
  const script = namespaceScript(plan, paths);
  await keepNamespace(['unshare', `--mount=${paths.namespace}`, '--propagation=slave', 'sh', '-c', script]);
}

/**
 * The file of a mount namespace can only be bound in one with a lower number (fs/namespace.c `mnt_ns_loop`). Newer kernels, 6.18 for one,
 * give each CPU numbers of its own, so that in a namespace other than the machine's first only some CPUs make higher ones: all are tried.
 */
async function keepNamespace(command: readonly string[]): Promise<void> {
  let failure: unknown;
  for (const prefix of [[], ...cpus().map((_, cpu) => ['taskset', '--cpu-list', String(cpu)])]) {
    const [program = '', ...args] = [...prefix, ...command];
    try {
      await run(program, args);
      return;
    } catch (err) {
      failure = err;
    }
  }
  throw failure;
}

/** A namespace's file may only be bound where mounts are private; else it would appear inside of itself. */
export async function prepareNamespaceFolder(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  await run('mount', ['--bind', folder, folder]);
  await run('mount', ['--make-private', folder]);
}
