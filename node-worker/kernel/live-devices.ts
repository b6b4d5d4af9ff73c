import { fstatSync, readdirSync } from 'node:fs';
import type { OpenContainer } from './container.ts';
import { ifThere, withDev } from './container-nodes.ts';
import { deviceOf } from './device-number.ts';
import type { DeviceNode } from './engine.ts';
import { O_DIRECTORY, O_NOFOLLOW } from './flags.ts';
import { withPath } from './open-in-root.ts';
import { accessTo } from './policy.ts';

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
  const found = ifThere([], () => withDev(container, (devFd) => walk(devFd, '/dev', 1))).slice(0, MAX_NODES);
  const access = readable ? accessTo(container, found) : found.map(() => '?');
  return found.map((node, index) => ({ ...node, access: access[index] ?? '' }));
}

/** See `KernelEngine.devicesOf`. */
export function devicesOf(container: OpenContainer): readonly DeviceNode[] {
  return nodesOf(container).filter(
    ({ path, access }) => access !== '' && !DEFAULT_NODES.has(path.slice('/dev/'.length)),
  );
}

function walk(directoryFd: number, directory: string, depth: number): readonly DeviceNode[] {
  return namesIn(directoryFd).flatMap((name) => {
    const path = `${directory}/${name}`;
    if (depth === 1 && DEFAULT_DIRECTORIES.has(name)) return [];
    return ifThere([], () => withPath(directoryFd, name, O_NOFOLLOW, (fd) => nodesAt(fd, path, depth)));
  });
}

function nodesAt(fd: number, path: string, depth: number): readonly DeviceNode[] {
  const stat = fstatSync(fd, { bigint: true });
  if (stat.isDirectory()) return depth < MAX_DEPTH ? walk(fd, path, depth + 1) : [];
  const device = deviceOf(stat);
  if (device === undefined) return [];
  return [
    { ...device, path, access: '', mode: Number(stat.mode & 0o7777n), uid: Number(stat.uid), gid: Number(stat.gid) },
  ];
}

/** By the descriptor's own link, which the tenant cannot move. */
function namesIn(directoryFd: number): readonly string[] {
  return withPath(directoryFd, '/', O_DIRECTORY, (fd) => readdirSync(`/proc/self/fd/${fd}`));
}
