import { opendirSync } from 'node:fs';
import { ifThere, withDev } from './container-nodes.ts';
import type { ContainerRoot } from './container-root.ts';
import type { Dev } from './device-node.ts';
import type { DeviceNode } from './engine.ts';
import { O_DIRECTORY, O_NOFOLLOW } from './flags.ts';
import { withPath } from './open-in-root.ts';
import { Refusal } from './refusal.ts';
import { statNow } from './stat-now.ts';

/** Made by every runtime below /dev, and full of what is no device of anybody's. */
const DEFAULT_DIRECTORIES = new Set(['pts', 'shm', 'mqueue', 'fd']);
const MAX_DEPTH = 4;
const MAX_NODES = 1024;
/** Of files and directories together. */
const MAX_NAMES = 65_536;

/**
 * Device nodes below the container's /dev, the first 1,024 of them, without their access. Symlinks are not followed. Throws
 * `Refusal` ContainerUnsupported where there are more names than anybody can have use for.
 */
export function nodesBelowDev(root: ContainerRoot): readonly DeviceNode[] {
  const found: DeviceNode[] = [];
  const walk: Walk = { found, names: 0 };
  ifThere(undefined, () => withDev(root, (dev) => lookInto(walk, dev, '/dev', 1)));
  return found;
}

interface Walk {
  readonly found: DeviceNode[];
  names: number;
}

function lookInto(walk: Walk, { fd: directoryFd, guard }: Dev, directory: string, depth: number): void {
  for (const name of namesIn(directoryFd)) {
    if (walk.found.length >= MAX_NODES) return;
    if (++walk.names > MAX_NAMES)
      throw new Refusal('ContainerUnsupported', `Cannot list "/dev" of the container: more than ${MAX_NAMES} names`);
    if (depth === 1 && DEFAULT_DIRECTORIES.has(name)) continue;
    const lookAt = (fd: number): void => lookAtFile(walk, { fd, guard }, `${directory}/${name}`, depth);
    ifThere(undefined, () => withPath(directoryFd, name, O_NOFOLLOW, lookAt, guard));
  }
}

function lookAtFile(walk: Walk, file: Dev, path: string, depth: number): void {
  const { kind, device, permissions, uid, gid } = statNow(file.fd);
  if (kind === 'directory' && depth < MAX_DEPTH) lookInto(walk, file, path, depth + 1);
  if (device !== undefined) walk.found.push({ ...device, path, access: '', mode: permissions, uid, gid });
}

/** By the descriptor's own link, which the tenant cannot move. One after the other: there may be millions. */
function* namesIn(directoryFd: number): Generator<string, void, void> {
  const directory = withPath(directoryFd, '/', O_DIRECTORY, (own) => opendirSync(`/proc/self/fd/${own}`));
  try {
    for (let entry = directory.readSync(); entry !== null; entry = directory.readSync()) yield entry.name;
  } finally {
    directory.closeSync();
  }
}
