import { closeSync, constants, openSync } from 'node:fs';
import { posix } from 'node:path';
import { asRootOf } from './container-ids.ts';
import { ifWritable } from './container-nodes.ts';
import type { ContainerRoot } from './container-root.ts';
import { removeDirectory, removeFile } from './device-node.ts';
import type { GrantedFile } from './engine.ts';
import { fileAt, hasFile, isMountPoint, linkAt } from './file-at.ts';
import { MNT_DETACH, MOVE_MOUNT_BOTH_EMPTY_PATHS, O_DIRECTORY, O_NOFOLLOW, O_PATH } from './flags.ts';
import { type Source, withMountOf, withSource } from './host-file.ts';
import { inNamespaceOf } from './mount-namespace.ts';
import { openInRoot, withPath } from './open-in-root.ts';
import { type OwnTree, requireFirstRoot, requireUnshared, sameMountAs, withOwnTree } from './own-tree.ts';
import { Refusal } from './refusal.ts';
import { hasCode, SyscallError, syscall } from './syscall.ts';

const DIRECTORY_MODE = 0o755;
/** An empty file or folder without any permission is what we mount on, and so known as ours. */
const MOUNT_POINT_MODE = 0;

/** Gives the files, and answers paths of those that were not there. Idempotent. Throws `Refusal` ContainerUnsupported. */
export function placeFiles(container: ContainerRoot, files: readonly GrantedFile[]): readonly string[] {
  const missing = withOwnTree(container, (tree) => files.filter((file) => isOurs(file) && !hasFile(tree, file)));
  if (missing.length === 0) return [];
  requireFirstRoot(container);
  requireUnshared(container);
  withOwnTree(container, (tree) => {
    for (const file of missing) placeFile(tree, file);
  });
  return missing.map(({ path }) => path);
}

const isOurs = ({ name }: GrantedFile): boolean => name === 'made';

function placeFile(tree: OwnTree, file: GrantedFile): void {
  try {
    for (const directory of file.madeDirectories) makeDirectory(tree, directory);
    if (file.kind === 'link') makeLink(tree, file);
    else mountFile(tree, file);
    if (!hasFile(tree, file)) throw new SyscallError('statx', 'ENOENT', file.path);
  } catch (err) {
    throw unplaceable(file.path, err);
  }
}

function makeDirectory(tree: OwnTree, path: string): void {
  const { dir, base } = posix.parse(path);
  const parent = tree.directory(dir);
  ifNew(() => asRootOf(tree.container, () => syscall('mkdirat', [parent, base, DIRECTORY_MODE], path)));
}

function makeLink(tree: OwnTree, { path, from }: GrantedFile): void {
  const { dir, base } = posix.parse(path);
  const parent = tree.directory(dir);
  ifNew(() => asRootOf(tree.container, () => syscall('symlinkat', [from, parent, base], path)));
}

function mountFile(tree: OwnTree, file: GrantedFile): void {
  withSource(file.from, (source) => {
    if (source.identity !== file.identity) throw changed(file);
    const target = openMountPoint(tree, file.path, source.kind);
    try {
      withMountOf(source, file.writable ? 'writable' : 'readOnly', (mountFd) => {
        const { container } = tree;
        inNamespaceOf(container, () =>
          syscall('move_mount', [mountFd, '', target, '', MOVE_MOUNT_BOTH_EMPTY_PATHS], file.path),
        );
        // The container may have moved the folder meanwhile: nothing would find the mount again.
        if (!hasFile(tree, file)) unmount(container, mountFd);
      });
    } finally {
      closeSync(target);
    }
  });
}

function changed({ path, from }: GrantedFile): Refusal {
  const message = `Cannot give "${path}" to the container: the node has another file at "${from}" than when it was planned`;
  return new Refusal('ContainerUnsupported', message);
}

/**
 * A descriptor of what we have made ourselves: of a new file by the call that makes it, so that nobody can put another in its place.
 * Throws `SyscallError`, EEXIST where there is something that is not ours.
 */
function openMountPoint(tree: OwnTree, path: string, kind: Source['kind']): number {
  const { dir, base } = posix.parse(path);
  const parent = tree.directory(dir);
  const isDirectory = kind === 'directory';
  try {
    return asRootOf(tree.container, () => {
      if (!isDirectory)
        return openInRoot(parent, base, constants.O_CREAT | constants.O_EXCL | O_NOFOLLOW, MOUNT_POINT_MODE);
      syscall('mkdirat', [parent, base, MOUNT_POINT_MODE], path);
      return openInRoot(parent, base, O_PATH | O_DIRECTORY, 0, sameMountAs(parent));
    });
  } catch (err) {
    if (!hasCode(err, 'EEXIST')) throw err;
    return openOldMountPoint(parent, base, err);
  }
}

/** Of a grant that was interrupted. */
function openOldMountPoint(parent: number, name: string, otherwise: Error): number {
  const fd = openInRoot(parent, name, O_PATH | O_NOFOLLOW, 0, sameMountAs(parent));
  if (isMountPoint(fd)) return fd;
  closeSync(fd);
  throw otherwise;
}

/** umount2(2) takes a path: the link of the descriptor in /proc is that very mount, whatever the container moves. */
function unmount(container: ContainerRoot, mountFd: number): void {
  const descriptors = openSync('/proc/self/fd', O_DIRECTORY);
  try {
    inNamespaceOf(container, () => {
      syscall('fchdir', [descriptors]);
      syscall('umount2', [String(mountFd), MNT_DETACH]);
    });
  } catch (err) {
    // The container has done it meanwhile.
    if (!hasCode(err, 'EINVAL')) throw err;
  } finally {
    closeSync(descriptors);
  }
}

/** Undo of `placeFiles`, also of one that was interrupted. What is not ours stays. Answers paths of those that were there. */
export function takeFiles(container: ContainerRoot, files: readonly GrantedFile[]): readonly string[] {
  requireFirstRoot(container);
  return withOwnTree(container, (tree) => {
    const taken = files.filter((file) => isOurs(file) && ifOnRoot(() => takeFile(tree, file))).map(({ path }) => path);
    const directories = new Set(files.flatMap(({ madeDirectories }) => madeDirectories));
    for (const directory of [...directories].toSorted((a, b) => b.length - a.length)) {
      const { dir, base } = posix.parse(directory);
      ifOnRoot(() => {
        removeDirectory(tree.directory(dir), base);
        return true;
      });
    }
    return taken;
  });
}

/** What the container has moved away, or mounted something over, is not there. */
function ifOnRoot(take: () => boolean): boolean {
  return ifWritable(() => {
    try {
      return take();
    } catch (err) {
      if (hasCode(err, 'EXDEV')) return false;
      throw err;
    }
  });
}

function takeFile(tree: OwnTree, file: GrantedFile): boolean {
  const { dir, base } = posix.parse(file.path);
  const parent = tree.directory(dir);
  if (file.kind === 'link') {
    return linkAt(parent, base) === file.from && removeFile(parent, base);
  }
  let isThere = false;
  // More than one only where the container has put the same mount on it again.
  while (fileAt(parent, base).mounted === file.identity) {
    withPath(parent, base, O_NOFOLLOW, (mountFd) => unmount(tree.container, mountFd));
    isThere = true;
  }
  removeMountPoint(parent, base, isThere);
  return isThere;
}

/** @param wasCovered our mount was on it until now: it is ours also when a program of root has found and filled it since. */
function removeMountPoint(parent: number, name: string, wasCovered: boolean): void {
  const { mountPoint, isBare } = fileAt(parent, name);
  if (mountPoint === 'directory') removeDirectory(parent, name);
  if (mountPoint === 'file' || (wasCovered && isBare)) removeFile(parent, name);
}

function ifNew(make: () => unknown): void {
  try {
    make();
  } catch (err) {
    if (!hasCode(err, 'EEXIST')) throw err;
  }
}

const REASONS: Readonly<Record<string, string>> = {
  EEXIST: 'it has another file there',
  EXDEV: 'something is mounted there or above it, such as a volume',
  EROFS: 'its root file system is read-only',
  ENOTDIR: 'a part of the path is a link or no folder',
  ELOOP: 'a part of the path is a link or no folder',
  ENOENT: 'it takes away what is made there',
  ENOSYS: 'the kernel of the node is older than Linux 5.12',
};

/** What a container or an old kernel can bring about, as a refusal; other errors as they are. */
export function unplaceable(path: string, err: unknown): unknown {
  if (err instanceof Refusal || !(err instanceof SyscallError)) return err;
  const why = REASONS[err.code] ?? `the kernel answers ${err.code}`;
  return new Refusal('ContainerUnsupported', `Cannot give "${path}" to the container: ${why}`, err);
}
