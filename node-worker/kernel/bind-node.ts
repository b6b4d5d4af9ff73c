import { closeSync, constants } from 'node:fs';
import { asRootOf, idsOf } from './container-ids.ts';
import type { ContainerRoot } from './container-root.ts';
import { deviceAt, isSameDevice } from './device-at.ts';
import { type Dev, removeFile, withDirectory } from './device-node.ts';
import type { DeviceNode } from './engine.ts';
import { MNT_DETACH, MOVE_MOUNT_BOTH_EMPTY_PATHS, O_NOFOLLOW } from './flags.ts';
import { inNamespaceOf } from './mount-namespace.ts';
import { openInRoot, withPath } from './open-in-root.ts';
import { statNow } from './stat-now.ts';
import { hasCode, SyscallError, syscall } from './syscall.ts';
import { withMountOfNode } from './workbench.ts';

/** include/uapi/linux/mount.h */
const UMOUNT_NOFOLLOW = 8;
/** An empty file without any permission is what we put under a bind mount, and so known as ours. */
const TARGET_MODE = 0;

/**
 * Makes the empty file that `mountNode` mounts on, and the directories to it, owned by the container's root. `dev` is a /dev
 * that can be written. Returns false when the node is there already. Throws `SyscallError`.
 */
export function makeTarget(container: ContainerRoot, dev: Dev, parts: readonly string[], device: DeviceNode): boolean {
  const directories = parts.slice(0, -1);
  const name = parts.at(-1) ?? '';
  return asRootOf(container, () => {
    directories.forEach((directory, depth) => {
      withDirectory(dev, directories.slice(0, depth), (parent) => makeDirectory(parent, directory));
    });
    return withDirectory(dev, directories, (parent) => {
      if (isSameDevice(deviceAt(parent, name), device)) return false;
      closeSync(openInRoot(parent, name, constants.O_CREAT | constants.O_EXCL | O_NOFOLLOW, TARGET_MODE));
      return true;
    });
  });
}

/**
 * Shows a node in a container whose /dev belongs to a user namespace, where the kernel would open no node made in it
 * (SB_I_NODEV): the node is made on a tmpfs of ours and bind-mounted on an empty file, as runtimes do it. Throws `SyscallError`,
 * EEXIST when the container has put something else in the place of the empty file.
 */
export function mountNode(container: ContainerRoot, dev: Dev, parts: readonly string[], device: DeviceNode): void {
  const { uid, gid } = idsOf(container);
  const node = { ...device, uid: uid(device.uid), gid: gid(device.gid) };
  const mount = (parent: number, target: number): void => {
    if (!isTarget(target)) throw new SyscallError('move_mount', 'EEXIST', device.path);
    withMountOfNode(node, parent, (mountFd) =>
      inNamespaceOf(container, () =>
        syscall('move_mount', [mountFd, '', target, '', MOVE_MOUNT_BOTH_EMPTY_PATHS], device.path),
      ),
    );
  };
  withDirectory(dev, parts.slice(0, -1), (parent) =>
    withPath(parent, parts.at(-1) ?? '', O_NOFOLLOW, (target) => mount(parent, target)),
  );
}

/** Undo of `mountNode`. Returns whether a node was mounted. */
export function unmountNode(container: ContainerRoot, dev: Dev, parts: readonly string[], device: DeviceNode): boolean {
  const name = parts.at(-1) ?? '';
  return withDirectory(dev, parts.slice(0, -1), (parent) => {
    if (!isSameDevice(deviceAt(parent, name), device)) return false;
    return inNamespaceOf(container, () => unmount(parent, name));
  });
}

/** umount2(2) takes a path: this thread's own working directory keeps it out of the tenant's hands. */
function unmount(parent: number, name: string): boolean {
  syscall('fchdir', [parent]);
  try {
    syscall('umount2', [name, MNT_DETACH | UMOUNT_NOFOLLOW], name);
    return true;
  } catch (err) {
    // No mount, so none of ours: the container has another node there.
    if (hasCode(err, 'EINVAL')) return false;
    throw err;
  }
}

/** Removes the empty file of `makeTarget`, also one that was interrupted. Anything else is left where it is. */
export function removeTarget(directoryFd: number, name: string): void {
  try {
    if (withPath(directoryFd, name, O_NOFOLLOW, isTarget)) removeFile(directoryFd, name);
  } catch (err) {
    if (!hasCode(err, 'ENOENT', 'ELOOP')) throw err;
  }
}

function isTarget(fd: number): boolean {
  const { kind, size, permissions } = statNow(fd);
  return kind === 'file' && size === 0n && permissions === TARGET_MODE;
}

function makeDirectory(parent: number, name: string): void {
  try {
    syscall('mkdirat', [parent, name, 0o755], name);
  } catch (err) {
    if (!hasCode(err, 'EEXIST')) throw err;
  }
}
