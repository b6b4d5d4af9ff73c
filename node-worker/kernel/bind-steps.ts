import { closeSync, constants, fstatSync } from 'node:fs';
import { deviceAt, isSameDevice, S_IFBLK, S_IFCHR } from './device-at.ts';
import { makedev } from './device-number.ts';
import type { DeviceNode } from './engine.ts';
import { O_DIRECTORY, O_NOFOLLOW } from './flags.ts';
import { openInRoot, withPath } from './open-in-root.ts';
import { hasCode, syscall } from './syscall.ts';

/** What a thread is to do in the /dev of a container with a user namespace. */
export interface BindOrder {
  readonly action: 'bind' | 'unbind';
  /** Pidfd of the container's init: names its mount namespace. */
  readonly pidfd: number;
  /** Its /dev. */
  readonly devFd: number;
  /** Directories below /dev, and the name. */
  readonly parts: readonly string[];
  /** With owner and group as the host sees them. */
  readonly device: DeviceNode;
  /** Host ids of the container's root, which own what is made in its /dev. */
  readonly rootUid: number;
  readonly rootGid: number;
}

/** include/uapi/linux/mount.h, include/uapi/linux/sched.h, include/uapi/linux/fcntl.h */
const CLONE_FS = 0x200;
const CLONE_NEWNS = 0x20000;
const MS_REC_PRIVATE = 0x4000 | 0x40000;
const OPEN_TREE_CLONE = 1;
const MOVE_MOUNT_BOTH_EMPTY_PATHS = 0x04 | 0x40;
const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;
const AT_FDCWD = -100;
/** Any directory that every image has and this thread does not need: its own mount namespace gets a tmpfs there. */
const WORKBENCH = '/sys';
/** An empty file without any permission is what we put under a bind mount, and so known as ours. */
const TARGET_MODE = 0;

/**
 * Shows a node in a container whose /dev belongs to a user namespace, where the kernel would open no node made in it
 * (SB_I_NODEV): the node is made on a tmpfs of this thread and bind-mounted on an empty file, as runtimes do it.
 * Returns false when the node is there already.
 */
export function bindNode(order: BindOrder): boolean {
  const { device, parts, pidfd } = order;
  syscall('unshare', [CLONE_FS | CLONE_NEWNS]);
  const tree = privateNode(device);
  try {
    const target = asOwner(order, () => makeTarget(order));
    if (target === undefined) return false;
    try {
      syscall('setns', [pidfd, CLONE_NEWNS]);
      syscall('move_mount', [tree, '', target, '', MOVE_MOUNT_BOTH_EMPTY_PATHS], parts.join('/'));
    } finally {
      closeSync(target);
    }
    return true;
  } finally {
    closeSync(tree);
  }
}

/** A mount of nothing but the node, with owner and mode of the device. */
function privateNode(device: DeviceNode): number {
  const path = `${WORKBENCH}/node`;
  syscall('mount', ['none', '/', 0, MS_REC_PRIVATE, 0]);
  syscall('mount', ['tmpfs', WORKBENCH, 'tmpfs', 0, 0]);
  const type = device.type === 'c' ? S_IFCHR : S_IFBLK;
  syscall('mknodat', [AT_FDCWD, path, type | 0o600, makedev(device.major, device.minor)]);
  syscall('fchownat', [AT_FDCWD, path, device.uid, device.gid, 0]);
  syscall('fchmodat', [AT_FDCWD, path, device.mode]);
  return syscall('open_tree', [AT_FDCWD, path, OPEN_TREE_CLONE]);
}

/** Files in a user namespace's filesystem can only be made by ids that are mapped there. */
function asOwner<T>({ rootUid, rootGid }: BindOrder, use: () => T): T {
  syscall('setfsgid', [rootGid]);
  syscall('setfsuid', [rootUid]);
  try {
    return use();
  } finally {
    syscall('setfsuid', [0]);
    syscall('setfsgid', [0]);
  }
}

/** A descriptor of the empty file, or undefined when the node is there already. */
function makeTarget({ devFd, parts, device }: BindOrder): number | undefined {
  const directories = parts.slice(0, -1);
  const name = parts.at(-1) ?? '';
  directories.forEach((directory, depth) => {
    withPath(devFd, `/${directories.slice(0, depth).join('/')}`, O_DIRECTORY, (parent) =>
      makeDirectory(parent, directory),
    );
  });
  return withPath(devFd, `/${directories.join('/')}`, O_DIRECTORY, (parent) => {
    if (isSameDevice(deviceAt(parent, name), device)) return undefined;
    return openInRoot(parent, name, constants.O_CREAT | constants.O_EXCL | O_NOFOLLOW, TARGET_MODE);
  });
}

function makeDirectory(parent: number, name: string): void {
  try {
    syscall('mkdirat', [parent, name, 0o755], name);
  } catch (err) {
    if (!hasCode(err, 'EEXIST')) throw err;
  }
}

/** Undo of `bindNode`; also removes the empty file of one that was interrupted. */
export function unbindNode({ devFd, parts, device, pidfd }: BindOrder): boolean {
  const name = parts.at(-1) ?? '';
  const parent = openInRoot(devFd, `/${parts.slice(0, -1).join('/')}`, O_DIRECTORY);
  try {
    const bound = isSameDevice(deviceAt(parent, name), device);
    if (bound) {
      syscall('unshare', [CLONE_FS]);
      syscall('setns', [pidfd, CLONE_NEWNS]);
      // umount2(2) takes a path: the thread's own working directory keeps it out of the tenant's hands.
      syscall('fchdir', [parent]);
      syscall('umount2', [name, MNT_DETACH | UMOUNT_NOFOLLOW], name);
    }
    if (isEmptyTarget(parent, name)) syscall('unlinkat', [parent, name, 0], name);
    return bound;
  } finally {
    closeSync(parent);
  }
}

function isEmptyTarget(parent: number, name: string): boolean {
  try {
    return withPath(parent, name, O_NOFOLLOW, (fd) => {
      const stat = fstatSync(fd);
      return stat.isFile() && stat.size === 0 && (stat.mode & 0o7777) === TARGET_MODE;
    });
  } catch (err) {
    if (hasCode(err, 'ENOENT', 'ELOOP')) return false;
    throw err;
  }
}
