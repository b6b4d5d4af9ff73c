import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import type { OpenContainer } from './container.ts';
import { deviceAt, isSameDevice } from './device-at.ts';
import type { DeviceNode } from './engine.ts';
import { O_DIRECTORY, O_NOFOLLOW } from './flags.ts';
import { hostIdOf } from './id-map.ts';
import { inMountNamespace } from './mount-namespace.ts';
import { openInRoot, withPath } from './open-in-root.ts';
import { hasCode, SyscallError, syscall } from './syscall.ts';
import { withMountOfNode } from './workbench.ts';

/** include/uapi/linux/mount.h */
const MOVE_MOUNT_BOTH_EMPTY_PATHS = 0x04 | 0x40;
const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;
/** An empty file without any permission is what we put under a bind mount, and so known as ours. */
const TARGET_MODE = 0;

/**
 * Shows a node in a container whose /dev belongs to a user namespace, where the kernel would open no node made in it
 * (SB_I_NODEV): the node is made on a tmpfs of ours and bind-mounted on an empty file, as runtimes do it. Returns false when
 * the node is there already. Throws `SyscallError`.
 */
export function bindNode(
  container: OpenContainer,
  devFd: number,
  parts: readonly string[],
  device: DeviceNode,
): boolean {
  const ids = idsOf(container);
  const target = asUser(ids.uid(0), ids.gid(0), () => makeTarget(devFd, parts, device));
  if (target === undefined) return false;
  try {
    withMountOfNode({ ...device, uid: ids.uid(device.uid), gid: ids.gid(device.gid) }, (mountFd) =>
      inNamespaceOf(container, () =>
        syscall('move_mount', [mountFd, '', target, '', MOVE_MOUNT_BOTH_EMPTY_PATHS], device.path),
      ),
    );
  } finally {
    closeSync(target);
  }
  return true;
}

/** Undo of `bindNode`; also removes the empty file of one that was interrupted. Returns whether a node was bound. */
export function unbindNode(
  container: OpenContainer,
  devFd: number,
  parts: readonly string[],
  device: DeviceNode,
): boolean {
  const name = parts.at(-1) ?? '';
  const parent = openInRoot(devFd, `/${parts.slice(0, -1).join('/')}`, O_DIRECTORY);
  try {
    const bound = isSameDevice(deviceAt(parent, name), device);
    if (bound) inNamespaceOf(container, () => unmount(parent, name));
    if (isEmptyTarget(parent, name)) syscall('unlinkat', [parent, name, 0], name);
    return bound;
  } finally {
    closeSync(parent);
  }
}

/** umount2(2) takes a path: this thread's own working directory keeps it out of the tenant's hands. */
function unmount(parent: number, name: string): void {
  syscall('fchdir', [parent]);
  syscall('umount2', [name, MNT_DETACH | UMOUNT_NOFOLLOW], name);
}

/** Once init has ended nobody sees its namespace any more: ESRCH. */
function inNamespaceOf<T>(container: OpenContainer, use: () => T): T {
  const namespace = openSync(`/proc/${container.pid}/ns/mnt`, constants.O_RDONLY);
  try {
    if (!container.isAlive()) throw new SyscallError('setns', 'ESRCH', 'of a container that has ended');
    return inMountNamespace(namespace, use);
  } finally {
    closeSync(namespace);
  }
}

interface HostIds {
  readonly uid: (inside: number) => number;
  readonly gid: (inside: number) => number;
}

/** An id that the namespace does not have is its root's. */
function idsOf({ pid }: OpenContainer): HostIds {
  const mapping = (file: string): ((id: number) => number) => {
    const map = readFileSync(`/proc/${pid}/${file}`, 'latin1');
    return (id) => hostIdOf(map, id) ?? hostIdOf(map, 0) ?? 0;
  };
  return { uid: mapping('uid_map'), gid: mapping('gid_map') };
}

/** Files in a user namespace's filesystem can only be made by ids that are mapped there. The ids are this thread's only. */
function asUser<T>(uid: number, gid: number, use: () => T): T {
  syscall('setfsgid', [gid]);
  syscall('setfsuid', [uid]);
  try {
    return use();
  } finally {
    syscall('setfsuid', [0]);
    syscall('setfsgid', [0]);
  }
}

/** A descriptor of the empty file, or undefined when the node is there already. */
function makeTarget(devFd: number, parts: readonly string[], device: DeviceNode): number | undefined {
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
