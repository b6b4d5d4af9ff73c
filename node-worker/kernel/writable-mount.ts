import { accessSync, closeSync, constants } from 'node:fs';
import type { ContainerRoot } from './container-root.ts';
import { AT_EMPTY_PATH, MOUNT_ATTR_BYTES, MOUNT_ATTR_RDONLY, OPEN_TREE_CLONE } from './flags.ts';
import { inNamespaceOf } from './mount-namespace.ts';
import { hasCode, SyscallError, stableBytes, syscall } from './syscall.ts';

/** Whether nothing can be written in a directory: access(2) says so of a mount, too. */
export function isReadOnly(directoryFd: number): boolean {
  try {
    accessSync(`/proc/self/fd/${directoryFd}`, constants.W_OK);
    return false;
  } catch (err) {
    if (hasCode(err, 'EROFS')) return true;
    throw err;
  }
}

/**
 * Runs `use` with a descriptor of the same directory through a mount of ours that can be written: what is made there is in
 * the container's file system, whose own mount stays read-only, and the other mounts in it are not seen. Throws
 * `SyscallError`; EROFS when the file system itself is read-only, or the kernel has no mount_setattr(2) (Linux 5.12).
 */
export function withWritableMount<T>(container: ContainerRoot, directoryFd: number, use: (fd: number) => T): T {
  // Only a mount of the own namespace can be cloned.
  const clone = inNamespaceOf(container, () =>
    syscall('open_tree', [directoryFd, '', OPEN_TREE_CLONE | AT_EMPTY_PATH], 'of /dev'),
  );
  try {
    const attributes = stableBytes(MOUNT_ATTR_BYTES);
    attributes.writeBigUInt64LE(MOUNT_ATTR_RDONLY, 8); // attr_clr
    syscall('mount_setattr', [clone, '', AT_EMPTY_PATH, attributes, MOUNT_ATTR_BYTES], 'of /dev');
    return use(clone);
  } catch (err) {
    throw hasCode(err, 'ENOSYS') ? new SyscallError('mount_setattr', 'EROFS', 'of /dev') : err;
  } finally {
    closeSync(clone);
  }
}
