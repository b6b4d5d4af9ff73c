import { closeSync } from 'node:fs';
import { O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_PATH } from './flags.ts';
import { type MountGuard, unguarded } from './mount-guard.ts';
import { syscall } from './syscall.ts';

/**
 * Opens files of a tenant. A tenant can put a symlink anywhere, also while we look, so no path of a tenant goes to node:fs:
 * it is walked one name at a time, each below the descriptor of the directory before, and only descriptors are used then.
 * One name without `/`, opened with O_NOFOLLOW, can only be that entry of that directory: no link is followed, nothing
 * leads out. openat2(2) would promise the same with fewer calls, but only from Linux 5.6 on, and one way is better tested.
 */

/**
 * Opens `path` with `rootFd` as its root directory; `guard` is asked of every descriptor on the way, before anything is asked
 * of its file. Throws `SyscallError`: ENOENT, ENOTDIR where a directory is not one or a
 * symlink, ELOOP where the last part is a symlink and `flags` have no O_PATH. With O_PATH a symlink is opened itself.
 */
export function openInRoot(
  rootFd: number,
  path: string,
  flags: number,
  mode = 0,
  guard: MountGuard = unguarded,
): number {
  const names = namesIn(path);
  let directory = rootFd;
  try {
    for (const name of names.slice(0, -1)) {
      const next = openName(directory, name, O_PATH | O_DIRECTORY, 0, guard);
      if (directory !== rootFd) closeSync(directory);
      directory = next;
    }
    return openName(directory, names.at(-1) ?? '.', flags, mode, guard);
  } finally {
    if (directory !== rootFd) closeSync(directory);
  }
}

function openName(directory: number, name: string, flags: number, mode: number, guard: MountGuard): number {
  const fd = syscall('openat', [directory, name, flags | O_NOFOLLOW | O_CLOEXEC, mode], name);
  try {
    guard(fd, directory);
    return fd;
  } catch (err) {
    closeSync(fd);
    throw err;
  }
}

/** Throws RangeError on a name that is no entry of a directory. */
function namesIn(path: string): readonly string[] {
  const names = path.split('/').filter((name) => name !== '');
  if (path.includes('\0') || names.includes('.') || names.includes('..'))
    throw new RangeError(`Cannot open a path: it must be normalised, without zero bytes, is ${JSON.stringify(path)}`);
  return names;
}

/** Runs `use` with a descriptor that only names the file (O_PATH), never the target of a symlink. */
export function withPath<T>(
  rootFd: number,
  path: string,
  flags: number,
  use: (fd: number) => T,
  guard: MountGuard = unguarded,
): T {
  const fd = openInRoot(rootFd, path, O_PATH | flags, 0, guard);
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}
