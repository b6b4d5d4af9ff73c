import { posix } from 'node:path';
import { deviceAt } from './device-at.ts';
import type { OwnTree } from './own-tree.ts';
import { hasCode } from './syscall.ts';

/** How programs of a container find their libraries. */
export interface Loader {
  readonly libc: 'glibc' | 'musl' | 'none';
  /** Where it looks without being told; absent without a C library. */
  readonly folder?: string;
  /** A file of the container that tells it to look elsewhere. */
  readonly toldBy?: string;
}

const NAMES: Readonly<Record<string, { readonly multiarch: string; readonly musl: string }>> = {
  x64: { multiarch: 'x86_64-linux-gnu', musl: 'ld-musl-x86_64' },
  arm64: { multiarch: 'aarch64-linux-gnu', musl: 'ld-musl-aarch64' },
};

/**
 * glibc is installed in one of the folders in which its loader looks without a cache: Debian's of the architecture, Red Hat's
 * lib64, or plain lib. musl's looks in /lib, /usr/local/lib and /usr/lib, unless a file in /etc names others. Nothing is read but names, and no
 * link is followed.
 */
export function loaderOf(tree: OwnTree, arch: string = process.arch): Loader {
  const names = NAMES[arch];
  if (names === undefined) return { libc: 'none' };
  const glibc = [`lib/${names.multiarch}`, 'lib64', 'lib']
    .flatMap((folder) => [`/usr/${folder}`, `/${folder}`])
    .find((folder) => isThere(tree, `${folder}/libc.so.6`));
  if (glibc !== undefined) return { libc: 'glibc', folder: glibc };
  if (!['/lib', '/usr/lib'].some((folder) => isThere(tree, `${folder}/${names.musl}.so.1`))) return { libc: 'none' };
  const toldBy = `/etc/${names.musl}.path`;
  return {
    libc: 'musl',
    folder: isFolder(tree, '/usr/lib') ? '/usr/lib' : '/lib',
    ...(isThere(tree, toldBy) && { toldBy }),
  };
}

/** A folder that hosts have their libraries in, at the beginning of a path. */
const STANDARD = /^\/(?:usr\/)?lib(?:64|\/x86_64-linux-gnu|\/aarch64-linux-gnu)?(?=\/)/;

/**
 * Where a library goes that the host has at `path`: from a folder in which loaders look by default to that of the container; from any
 * other to the same path, which its programs know.
 */
export const libraryPath = ({ folder }: Loader, path: string): string =>
  folder === undefined ? path : path.replace(STANDARD, folder);

/** Directories that most distributions have as links, and what they lead to then: container paths from other hosts lead through them. */
const MERGED: Readonly<Record<string, readonly string[]>> = {
  '/lib': ['/usr/lib'],
  '/lib64': ['/usr/lib64', '/usr/lib'],
  '/bin': ['/usr/bin'],
  '/sbin': ['/usr/sbin', '/usr/bin'],
  '/var/run': ['/run'],
};

/** The path without such a link. Any other link on the way is no reason to go elsewhere. */
export function mergedPath(path: string, linkAt: (path: string) => string | undefined): string {
  for (const [from, targets] of Object.entries(MERGED)) {
    if (!path.startsWith(`${from}/`)) continue;
    const link = linkAt(from);
    const target = link === undefined ? '' : posix.resolve(posix.dirname(from), link);
    if (targets.includes(target)) return `${target}${path.slice(from.length)}`;
  }
  return path;
}

function isThere(tree: OwnTree, path: string): boolean {
  const { dir, base } = posix.parse(path);
  return isFolder(tree, dir) && deviceAt(tree.directory(dir), base) !== 'nothing';
}

function isFolder(tree: OwnTree, path: string): boolean {
  try {
    return tree.directory(path) >= 0;
  } catch (err) {
    if (hasCode(err, 'ENOENT', 'ENOTDIR', 'EXDEV')) return false;
    throw err;
  }
}
