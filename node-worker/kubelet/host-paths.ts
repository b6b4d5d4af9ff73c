import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { fail, failureOf } from '../../contract/failures.ts';
import { codeOf } from '../error-code.ts';

/** A device node of the host. */
export interface HostPath {
  /** Its path below the path that was asked for: empty, or for example `/card0`. */
  readonly rest: string;
  /** Absolute, as the host sees it, without symlinks. */
  readonly hostPath: string;
}

/** As many as Linux follows (path_resolution(7)). */
const MAX_LINKS = 40;
/** Directories of /dev that runtimes leave out (containerd, pkg/oci, getDevices; runc, libcontainer/devices). */
const LEFT_OUT = new Set(['pts', 'shm', 'fd', 'mqueue', '.lxc', '.lxd-mounts', '.udev']);
const MAX_DEPTH = 4;

/**
 * What a container runtime makes of `path` from a device plugin: a symlink is followed, below a directory all device nodes
 * are meant, and symlinks there are not. `root` is where the root of the host is seen: links never lead out of it.
 * @throws NotFound
 */
export function hostPathsOf(root: string, path: string): readonly HostPath[] {
  const hostPath = resolved(root, path);
  const stat = lstat(root, hostPath);
  if (!stat.isDirectory()) return [{ rest: '', hostPath }];
  const found = nodesBelow(root, hostPath, 1).map((node) => ({ rest: node.slice(hostPath.length), hostPath: node }));
  if (found.length > 0) return found;
  throw fail('NotFound', `Cannot use host directory "${path}": it must have device nodes in it, has none`);
}

/** No file of a driver or a device plugin has more. */
const MAX_BYTES = 4 * 1024 * 1024;

/**
 * The text of a file of the host, undefined when there is none; links never lead out of `root`.
 * @throws Invalid for anything but a file, and for a very large one
 */
export function hostTextOf(root: string, path: string): string | undefined {
  return ifThere(undefined, () => {
    const hostPath = resolved(root, path);
    const stat = lstat(root, hostPath);
    if (!stat.isFile()) throw fail('Invalid', `Cannot read host file "${path}": it is not a file`);
    if (Number(stat.size) > MAX_BYTES) {
      throw fail('Invalid', `Cannot read host file "${path}": it has more than ${MAX_BYTES} bytes`);
    }
    return readFileSync(`${root}${hostPath}`, 'utf8');
  });
}

/** Directories that are links into /usr on nearly every host, of which a node worker in a pod sees nothing but /usr. */
const MERGED = /^\/(?:lib\w*|bin|sbin)\//;

/** Where a file of the host is, without symlinks, which never lead out of `root`; undefined when there is none. */
export function hostFileAt(root: string, path: string): string | undefined {
  const places = MERGED.test(path) ? [path, `/usr${path}`] : [path];
  for (const place of places) {
    const hostPath = ifThere(undefined, () => resolved(root, place));
    if (hostPath !== undefined) return hostPath;
  }
  return undefined;
}

/** Names in a directory of the host; none when there is no such directory. */
export function hostNamesIn(root: string, path: string): readonly string[] {
  return ifThere([], () => {
    const hostPath = resolved(root, path);
    return lstat(root, hostPath).isDirectory() ? readdirSync(`${root}${hostPath}`) : [];
  });
}

function ifThere<T>(otherwise: T, look: () => T): T {
  try {
    return look();
  } catch (err) {
    if (failureOf(err)?.type === 'NotFound') return otherwise;
    throw err;
  }
}

function nodesBelow(root: string, directory: string, depth: number): readonly string[] {
  return readdirSync(`${root}${directory}`, { withFileTypes: true }).flatMap((entry) => {
    const path = `${directory}/${entry.name}`;
    if (entry.isDirectory()) {
      return LEFT_OUT.has(entry.name) || depth === MAX_DEPTH ? [] : nodesBelow(root, path, depth + 1);
    }
    const isNode = entry.isCharacterDevice() || entry.isBlockDevice();
    return isNode && entry.name !== 'console' ? [path] : [];
  });
}

/** `path` with each symlink replaced by what it says, where `/` is the root of the host. */
function resolved(root: string, path: string): string {
  const left = path.split('/');
  let done = '';
  for (let links = 0; left.length > 0; ) {
    const name = left.shift() ?? '';
    if (name === '' || name === '.') continue;
    if (name === '..') {
      done = done.slice(0, Math.max(done.lastIndexOf('/'), 0));
      continue;
    }
    if (!lstat(root, `${done}/${name}`).isSymbolicLink()) {
      done = `${done}/${name}`;
      continue;
    }
    links += 1;
    if (links > MAX_LINKS) throw fail('NotFound', `Cannot use host path "${path}": its symlinks have no end`);
    const target = readlinkSync(`${root}${done}/${name}`);
    if (target.startsWith('/')) done = '';
    left.unshift(...target.split('/'));
  }
  return done;
}

function lstat(root: string, path: string): ReturnType<typeof lstatSync> & object {
  const stat = ifNone(() => lstatSync(`${root}${path}`));
  // A volume of the node worker goes on showing a folder that was removed, and not the one that was made in its place.
  if (stat !== undefined && stat.nlink > 0) return stat;
  throw fail('NotFound', `Cannot use host path "${path}": the node has no such file`);
}

function ifNone<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (err) {
    const code = codeOf(err);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw err;
  }
}
