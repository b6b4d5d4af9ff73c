import { chmodSync } from 'node:fs';
import { deviceAt, isSameDevice, S_IFBLK, S_IFCHR } from './device-at.ts';
import { makedev } from './device-number.ts';
import type { DeviceId, DeviceNode } from './engine.ts';
import { AT_EMPTY_PATH, AT_REMOVEDIR, O_DIRECTORY, O_NOFOLLOW, RENAME_NOREPLACE } from './flags.ts';
import { isSameMount, type MountGuard } from './mount-guard.ts';
import { withPath } from './open-in-root.ts';
import { Refusal } from './refusal.ts';
import { statNow } from './stat-now.ts';
import { hasCode, syscall } from './syscall.ts';

const DIRECTORY_MODE = 0o755;

/**
 * Makes a device node that appears complete: it gets owner and mode under another name, then its own by a rename that
 * never overwrites. Returns false when the right node is there already. Throws `SyscallError`, EEXIST when something else has
 * the name.
 */
export function makeNode(directoryFd: number, name: string, device: DeviceNode): boolean {
  const temporary = temporaryName(name);
  removeNode(directoryFd, temporary, device);
  const type = device.type === 'c' ? S_IFCHR : S_IFBLK;
  try {
    syscall('mknodat', [directoryFd, temporary, type | 0o600, makedev(device.major, device.minor)], device.path);
    withPath(directoryFd, temporary, O_NOFOLLOW, (fd) => finishNode(fd, directoryFd, device));
    syscall('renameat2', [directoryFd, temporary, directoryFd, name, RENAME_NOREPLACE], device.path);
    return true;
  } catch (err) {
    removeNode(directoryFd, temporary, device);
    if (hasCode(err, 'EEXIST') && isSameDevice(deviceAt(directoryFd, name), device)) return false;
    throw err;
  }
}

export const temporaryName = (name: string): string => `.${name}.devmnt`;

function finishNode(fd: number, directoryFd: number, device: DeviceNode): void {
  const made = statNow(fd).device;
  if (made === undefined || !isSameDevice(made, device) || !isSameMount(fd, directoryFd)) {
    throw new Refusal(
      'ContainerUnsupported',
      `Cannot make device node "${device.path}": the container replaces it by another file`,
    );
  }
  syscall('fchownat', [fd, '', device.uid, device.gid, AT_EMPTY_PATH], device.path);
  // By the descriptor's link: independent of the umask and of fchmodat2(2), which kernels before 6.6 do not have.
  chmodSync(`/proc/self/fd/${fd}`, device.mode);
}

export function unwritable(path: string, err: unknown): unknown {
  if (hasCode(err, 'EEXIST')) {
    return new Refusal(
      'ContainerUnsupported',
      `Cannot make device node "${path}": the container has another file there`,
      err,
    );
  }
  if (hasCode(err, 'EWOULDBLOCK')) {
    return new Refusal(
      'ContainerUnsupported',
      `Cannot make device node "${path}": the container has a file system there that may never answer`,
      err,
    );
  }
  if (hasCode(err, 'EROFS'))
    return new Refusal('ContainerUnsupported', `Cannot make device node "${path}": it is read-only there`, err);
  if (hasCode(err, 'ENOENT')) {
    return new Refusal(
      'ContainerUnsupported',
      `Cannot make device node "${path}": the container has no such directory or takes away what is made there`,
      err,
    );
  }
  if (hasCode(err, 'ELOOP', 'ENOTDIR')) {
    return new Refusal(
      'ContainerUnsupported',
      `Cannot make device node "${path}": a part of the path is not a directory`,
      err,
    );
  }
  // What else a container can bring about: a full or immutable /dev, a mount that is gone again.
  if (hasCode(err, 'EACCES', 'EBUSY', 'EDQUOT', 'EINVAL', 'ENOSPC', 'EOPNOTSUPP', 'EPERM')) {
    return new Refusal(
      'ContainerUnsupported',
      `Cannot make device node "${path}": the kernel answers ${err.code} there`,
      err,
    );
  }
  return err;
}

/** Removes a node if it stands for this device. Returns whether it was there. Anything else is left where it is. */
export function removeNode(directoryFd: number, name: string, device: DeviceId): boolean {
  return isSameDevice(deviceAt(directoryFd, name), device) && removeFile(directoryFd, name);
}

/** Unless the container has moved it away since it was looked at, or exchanged it with a directory. Returns whether it was removed. */
export function removeFile(directoryFd: number, name: string): boolean {
  try {
    syscall('unlinkat', [directoryFd, name, 0], name);
    return true;
  } catch (err) {
    if (hasCode(err, 'ENOENT', 'EISDIR')) return false;
    throw err;
  }
}

/** The /dev of a container or a directory in it, and what to ask of each mount below. */
export interface Dev {
  readonly fd: number;
  readonly guard: MountGuard;
}

/** Runs `use` with a descriptor of the directory `parts` below /dev. Throws `SyscallError` ENOENT, ENOTDIR, EWOULDBLOCK. */
export function withDirectory<T>({ fd, guard }: Dev, parts: readonly string[], use: (fd: number) => T): T {
  return parts.length === 0 ? use(fd) : withPath(fd, parts.join('/'), O_DIRECTORY, use, guard);
}

/**
 * Makes the missing directories, outermost first, owned by root with mode 0755 whatever the umask is. `check` is asked about
 * each directory in which one is made.
 */
export function makeDirectories(dev: Dev, parts: readonly string[], check: (fd: number) => void): void {
  for (let depth = 1; depth <= parts.length; depth++) {
    const name = parts[depth - 1] ?? '';
    withDirectory(dev, parts.slice(0, depth - 1), (parent) => {
      if (deviceAt(parent, name) === 'nothing') makeDirectory(parent, name, check);
    });
  }
}

function makeDirectory(parentFd: number, name: string, check: (fd: number) => void): void {
  check(parentFd);
  try {
    syscall('mkdirat', [parentFd, name, DIRECTORY_MODE], name);
  } catch (err) {
    if (hasCode(err, 'EEXIST')) return;
    throw err;
  }
  withPath(parentFd, name, O_DIRECTORY, (fd) => {
    if (isSameMount(fd, parentFd)) chmodSync(`/proc/self/fd/${fd}`, DIRECTORY_MODE);
  });
}

/** Removes a directory if it is empty. */
export function removeDirectory(parentFd: number, name: string): void {
  try {
    syscall('unlinkat', [parentFd, name, AT_REMOVEDIR], name);
  } catch (err) {
    if (!hasCode(err, 'ENOENT', 'ENOTEMPTY', 'ENOTDIR', 'EEXIST', 'EBUSY')) throw err;
  }
}
