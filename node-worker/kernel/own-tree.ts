import { closeSync } from 'node:fs';
import type { ContainerRoot } from './container-root.ts';
import { AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_PATH } from './flags.ts';
import { linesOf } from './lines.ts';
import { isSameMount, type MountGuard, mountIdOf } from './mount-guard.ts';
import { inNamespaceOf } from './mount-namespace.ts';
import { openInRoot } from './open-in-root.ts';
import { Refusal } from './refusal.ts';
import { SyscallError, syscall } from './syscall.ts';

/** What lies on the container's root mount itself: not its volumes, nor anything else that is mounted in it. */
export interface OwnTree {
  readonly container: ContainerRoot;
  /**
   * Descriptor (O_PATH) of a directory by its absolute path, for as long as the tree is used. Throws `SyscallError`: ENOENT,
   * ENOTDIR where a part is a symlink or no directory, EXDEV where something is mounted on a part.
   */
  directory(path: string): number;
}

/** The directories of one step are opened once each: most files go to the same one. */
export function withOwnTree<T>(container: ContainerRoot, use: (tree: OwnTree) => T): T {
  const opened = new Map<string, number>();
  const onRootMount = sameMountAs(container.rootFd);
  const directory = (path: string): number => {
    const known = opened.get(path);
    if (known !== undefined) return known;
    const fd = openInRoot(container.rootFd, path, O_PATH | O_DIRECTORY, 0, onRootMount);
    opened.set(path, fd);
    return fd;
  };
  try {
    return use({ container, directory });
  } finally {
    for (const fd of opened.values()) closeSync(fd);
  }
}

/** Throws `SyscallError` EXDEV for what is on another mount than `fd`. */
export function sameMountAs(fd: number): MountGuard {
  return (other) => {
    if (!isSameMount(other, fd)) throw new SyscallError('openat', 'EXDEV', 'on another mount');
  };
}

/**
 * Proves that the root directory of the container's main process is on the mount that the container was started with: it may have
 * changed to a volume. Throws `Refusal` ContainerUnsupported.
 */
export function requireFirstRoot(container: ContainerRoot): void {
  const first = inNamespaceOf(container, () =>
    syscall('openat', [AT_FDCWD, '/', O_PATH | O_DIRECTORY | O_CLOEXEC, 0], 'of the namespace'),
  );
  try {
    if (!isSameMount(first, container.rootFd)) throw refused('its main process has changed its root directory');
  } finally {
    closeSync(first);
  }
}

/** Proves that nobody else sees what is mounted below the container's root. Throws `Refusal` ContainerUnsupported. */
export function requireUnshared(container: ContainerRoot): void {
  if (isShared(container)) throw refused('its root is a shared mount, so that others would get them, too');
}

const refused = (why: string): Refusal =>
  new Refusal('ContainerUnsupported', `Cannot give files of the node to the container: ${why}`);

/** Optional fields of proc_pid_mountinfo(5). A mount that is not listed counts as shared. */
function isShared({ pid, rootFd }: ContainerRoot): boolean {
  const wanted = mountIdOf(rootFd);
  for (const line of linesOf(`/proc/${pid}/mountinfo`)) {
    if (line.split(' ', 1)[0] === wanted) return / shared:\d+ /.test(`${line.split(' - ', 1)[0]} `);
  }
  return true;
}
