import { readdirSync } from 'node:fs';
import type { OpenContainer } from './container.ts';
import { ifThere, withDev } from './container-nodes.ts';
import type { Dev } from './device-node.ts';
import type { DeviceNode } from './engine.ts';
import { O_DIRECTORY, O_NOFOLLOW } from './flags.ts';
import { withPath } from './open-in-root.ts';
import { accessTo } from './policy.ts';
import { statNow } from './stat-now.ts';

/** Nodes every container has: OCI runtime spec, "Default Devices", and the terminals below /dev/pts. */
const DEFAULT_NODES = new Set(['null', 'zero', 'full', 'random', 'urandom', 'tty', 'console', 'ptmx']);
const DEFAULT_DIRECTORIES = new Set(['pts', 'shm', 'mqueue', 'fd']);
const MAX_DEPTH = 4;
const MAX_NODES = 4096;

/**
 * Device nodes below the container's /dev with the access it has to each, `` for none and `?` where its policy is not
 * readable. Symlinks are not followed.
 */
export function nodesOf(container: OpenContainer, readable = true): readonly DeviceNode[] {
  const found = ifThere([], () => withDev(container, (dev) => walk(dev, '/dev', 1))).slice(0, MAX_NODES);
  const access = readable ? accessTo(container, found) : found.map(() => '?');
  return found.map((node, index) => ({ ...node, access: access[index] ?? '' }));
}

/** See `KernelEngine.devicesOf`. */
export function devicesOf(container: OpenContainer): readonly DeviceNode[] {
  return nodesOf(container).filter(
    ({ path, access }) => access !== '' && !DEFAULT_NODES.has(path.slice('/dev/'.length)),
  );
}

function walk({ fd: directoryFd, guard }: Dev, directory: string, depth: number): readonly DeviceNode[] {
  return namesIn(directoryFd).flatMap((name) => {
    const path = `${directory}/${name}`;
    if (depth === 1 && DEFAULT_DIRECTORIES.has(name)) return [];
    return ifThere([], () =>
      withPath(directoryFd, name, O_NOFOLLOW, (fd) => nodesAt({ fd, guard }, path, depth), guard),
    );
  });
}

function nodesAt(file: Dev, path: string, depth: number): readonly DeviceNode[] {
  const { kind, device, permissions, uid, gid } = statNow(file.fd);
  if (kind === 'directory') return depth < MAX_DEPTH ? walk(file, path, depth + 1) : [];
  return device === undefined ? [] : [{ ...device, path, access: '', mode: permissions, uid, gid }];
}

/** By the descriptor's own link, which the tenant cannot move. */
function namesIn(directoryFd: number): readonly string[] {
  return withPath(directoryFd, '/', O_DIRECTORY, (fd) => readdirSync(`/proc/self/fd/${fd}`));
}
