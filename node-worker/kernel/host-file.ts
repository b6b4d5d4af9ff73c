import { closeSync, openSync, readSync } from 'node:fs';
import { basename } from 'node:path';
import { type Library, parseLibrary } from './elf.ts';
import {
  AT_EMPTY_PATH,
  MOUNT_ATTR_BYTES,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  MS_PRIVATE,
  O_CLOEXEC,
  O_NOFOLLOW,
  O_PATH,
  OPEN_TREE_CLONE,
} from './flags.ts';
import { inMountNamespace } from './mount-namespace.ts';
import { Refusal } from './refusal.ts';
import { type StatNow, statNow } from './stat-now.ts';
import { hasCode, stableBytes, syscall } from './syscall.ts';

/** A file, folder or socket of the host. */
export interface Source {
  readonly path: string;
  readonly fd: number;
  readonly kind: 'file' | 'directory' | 'socket';
  readonly identity: string;
}

/** Which file a descriptor is of, whatever its name: `8:1 42`. The same through each mount of it. */
export const identityOf = ({ fileSystem, inode }: StatNow): string => `${fileSystem} ${inode}`;

/** Runs `use` with a file of the host by its path, which has no symlinks. Throws `Refusal` NotFound and Invalid. */
export function withSource<T>(hostPath: string, use: (source: Source) => T): T {
  const fd = openSource(hostPath);
  try {
    const stat = statNow(fd);
    const { kind } = stat;
    if (kind === 'device' || kind === 'other')
      throw new Refusal('Invalid', `Cannot use host file "${hostPath}": it must be a file, a folder or a socket`);
    return use({ path: hostPath, fd, kind, identity: identityOf(stat) });
  } finally {
    closeSync(fd);
  }
}

function openSource(hostPath: string): number {
  try {
    return openSync(hostPath, O_PATH | O_NOFOLLOW);
  } catch (err) {
    if (!hasCode(err, 'ENOENT', 'ENOTDIR')) throw err;
    throw new Refusal('NotFound', `Cannot use host file "${hostPath}": the node has no such file`, err);
  }
}

/** What a shared library says of itself; undefined for other files. */
export function libraryAt({ path, fd, kind }: Source): Library | undefined {
  if (kind !== 'file' || !/\.so(?:\.|$)/.test(basename(path))) return undefined;
  const file = openSync(`/proc/self/fd/${fd}`, 'r');
  try {
    return parseLibrary((offset, length) => {
      const bytes = Buffer.alloc(length);
      return bytes.subarray(0, readSync(file, bytes, 0, length, offset));
    });
  } finally {
    closeSync(file);
  }
}

/**
 * Runs `use` with a detached mount of nothing but the source: read-only or without programs, without set-user-id programs and devices in
 * any case, and apart from what is mounted on the host later. It ends with `use` unless that moves it somewhere. Throws `SyscallError`, ENOSYS before Linux 5.12.
 */
export function withMountOf<T>(source: Source, access: 'readOnly' | 'writable', use: (mountFd: number) => T): T {
  const mountFd = cloneOf(source);
  try {
    const safe = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    const attributes =
      access === 'readOnly'
        ? attributesOf(safe | MOUNT_ATTR_RDONLY, MS_PRIVATE)
        : attributesOf(safe | MOUNT_ATTR_NOEXEC, MS_PRIVATE, MOUNT_ATTR_RDONLY);
    syscall('mount_setattr', [mountFd, '', AT_EMPTY_PATH, attributes, MOUNT_ATTR_BYTES]);
    return use(mountFd);
  } finally {
    closeSync(mountFd);
  }
}

/** Throws `SyscallError` ENOSYS before Linux 5.12. */
export function requireMountSetattr(): void {
  try {
    syscall('mount_setattr', [-1, '', AT_EMPTY_PATH, attributesOf(MOUNT_ATTR_RDONLY, 0n), MOUNT_ATTR_BYTES]);
  } catch (err) {
    if (!hasCode(err, 'EBADF')) throw err;
  }
}

/** What the worker itself sees read-only is cleared for a mount in which the container may write. */
function attributesOf(set: bigint, propagation: bigint, clear = 0n): Buffer {
  const attributes = stableBytes(MOUNT_ATTR_BYTES);
  attributes.writeBigUInt64LE(set, 0);
  attributes.writeBigUInt64LE(clear, 8);
  attributes.writeBigUInt64LE(propagation, 16);
  return attributes;
}

/** The root of the host as the default of `--host-root` shows it. */
const OF_PROCESS = /^(\/proc\/\d+)\/root\//;

/** Only a mount of the own namespace can be cloned: what is seen by way of another process's root is in that one's. */
function cloneOf({ path, fd }: Source): number {
  const clone = (): number => syscall('open_tree', [fd, '', OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH]);
  const [, owner] = OF_PROCESS.exec(path) ?? [];
  if (owner === undefined) return clone();
  const namespace = openSync(`${owner}/ns/mnt`, 'r');
  try {
    return inMountNamespace(namespace, clone);
  } finally {
    closeSync(namespace);
  }
}
