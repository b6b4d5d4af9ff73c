import { posix } from 'node:path';
import type { GrantedFile } from './engine.ts';
import { O_NOFOLLOW } from './flags.ts';
import { identityOf } from './host-file.ts';
import { isSameMount } from './mount-guard.ts';
import { withPath } from './open-in-root.ts';
import type { OwnTree } from './own-tree.ts';
import { statNow } from './stat-now.ts';
import { hasCode, stableBytes, syscall } from './syscall.ts';

/** What a directory of a container has under a name. */
export interface FileAt {
  readonly isThere: boolean;
  /** Identity of what is mounted on it. */
  readonly mounted?: string;
  /** It is what we mount on, and nothing is mounted on it. */
  readonly mountPoint?: 'file' | 'directory';
  /** A file without any permission, as what we mount on; it may hold something. */
  readonly isBare?: true;
}

export function fileAt(parent: number, name: string): FileAt {
  try {
    return withPath(parent, name, O_NOFOLLOW, (fd) => {
      const stat = statNow(fd);
      if (!isSameMount(fd, parent)) return { isThere: true, mounted: identityOf(stat) };
      const isBare = stat.kind === 'file' && stat.permissions === 0;
      const there = { isThere: true, ...(isBare && { isBare }) };
      return isMountPoint(fd) ? { ...there, mountPoint: stat.kind === 'directory' ? 'directory' : 'file' } : there;
    });
  } catch (err) {
    if (hasCode(err, 'ENOENT')) return { isThere: false };
    throw err;
  }
}

export function isMountPoint(fd: number): boolean {
  const { kind, size, permissions } = statNow(fd);
  return permissions === 0 && (kind === 'directory' || (kind === 'file' && size === 0n));
}

/**
 * Whether the container sees the file. A link that it has replaced, by installing a package for example, is no reason to mend
 * anything: it has chosen another library.
 */
export function hasFile(tree: OwnTree, { path, kind, identity }: GrantedFile): boolean {
  const { dir, base } = posix.parse(path);
  try {
    const there = fileAt(tree.directory(dir), base);
    return kind === 'link' ? there.isThere : there.mounted === identity;
  } catch (err) {
    if (hasCode(err, 'ENOENT', 'ENOTDIR', 'EXDEV')) return false;
    throw err;
  }
}

/** Longer than the name of any library. */
const MAX_LINK = 4_096;
const text = stableBytes(MAX_LINK);

/** The text of a symlink; undefined where there is none. */
export function linkAt(parent: number, name: string): string | undefined {
  try {
    const length = syscall('readlinkat', [parent, name, text, MAX_LINK], name);
    return text.toString('latin1', 0, length);
  } catch (err) {
    if (hasCode(err, 'ENOENT', 'EINVAL')) return undefined;
    throw err;
  }
}
