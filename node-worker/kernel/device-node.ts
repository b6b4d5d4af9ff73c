import { chmodSync, closeSync, fstatSync } from 'node:fs';
import { fail } from '../../contract/failures.ts';
import { deviceAt, isSameDevice, S_IFBLK, S_IFCHR } from './device-at.ts';
import { deviceOf, makedev } from './device-number.ts';
import type { DeviceId, DeviceNode } from './engine.ts';
import { AT_EMPTY_PATH, AT_REMOVEDIR, O_DIRECTORY, O_NOFOLLOW, O_PATH, RENAME_NOREPLACE } from './flags.ts';
import { openInRoot, withPath } from './open-in-root.ts';
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
    withPath(directoryFd, temporary, O_NOFOLLOW, (fd) => finishNode(fd, device));
    syscall('renameat2', [directoryFd, temporary, directoryFd, name, RENAME_NOREPLACE], device.path);
    return true;
  } catch (err) {
    removeNode(directoryFd, temporary, device);
    if (hasCode(err, 'EEXIST') && isSameDevice(deviceAt(directoryFd, name), device)) return false;
    throw err;
  }
}

export const temporaryName = (name: string): string => `.${name}.devmnt`;

function finishNode(fd: number, device: DeviceNode): void {
  const made = deviceOf(fstatSync(fd, { bigint: true }));
  if (made === undefined || !isSameDevice(made, device)) {
    throw fail(
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
    return fail('ContainerUnsupported', `Cannot make device node "${path}": the container has another file there`, err);
  }
  if (hasCode(err, 'EROFS'))
    return fail('ContainerUnsupported', `Cannot make device node "${path}": it is read-only there`, err);
  if (hasCode(err, 'ENOENT')) {
    return fail(
      'ContainerUnsupported',
      `Cannot make device node "${path}": the container has no such directory or takes away what is made there`,
      err,
    );
  }
  if (hasCode(err, 'ELOOP', 'ENOTDIR')) {
    return fail(
      'ContainerUnsupported',
      `Cannot make device node "${path}": a part of the path is not a directory`,
      err,
    );
  }
  return err;
}

/** Removes a node if it stands for this device. Returns whether it was there. Anything else is left where it is. */
export function removeNode(directoryFd: number, name: string, device: DeviceId): boolean {
  if (!isSameDevice(deviceAt(directoryFd, name), device)) return false;
  try {
    syscall('unlinkat', [directoryFd, name, 0], name);
    return true;
  } catch (err) {
    if (hasCode(err, 'ENOENT')) return false;
    throw err;
  }
}

/** Runs `use` with a descriptor of the directory `parts` below `devFd`. Throws `SyscallError` ENOENT, ELOOP, ENOTDIR. */
export function withDirectory<T>(devFd: number, parts: readonly string[], use: (fd: number) => T): T {
  return withPath(devFd, `/${parts.join('/')}`, O_DIRECTORY, use);
}

/**
 * Makes the missing directories, outermost first, owned by root with mode 0755 whatever the umask is. `check` is asked about
 * each directory in which one is made.
 */
export function makeDirectories(devFd: number, parts: readonly string[], check: (fd: number) => void): void {
  for (let depth = 1; depth <= parts.length; depth++) {
    const name = parts[depth - 1] ?? '';
    withDirectory(devFd, parts.slice(0, depth - 1), (parent) => {
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
  const fd = openInRoot(parentFd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW);
  try {
    chmodSync(`/proc/self/fd/${fd}`, DIRECTORY_MODE);
  } finally {
    closeSync(fd);
  }
}

/** Removes a directory if it is empty. */
export function removeDirectory(parentFd: number, name: string): void {
  try {
    syscall('unlinkat', [parentFd, name, AT_REMOVEDIR], name);
  } catch (err) {
    if (!hasCode(err, 'ENOENT', 'ENOTEMPTY', 'ENOTDIR', 'EEXIST', 'EBUSY')) throw err;
  }
}
