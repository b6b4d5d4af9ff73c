import { constants } from 'node:fs';

/** Open flags that node:fs does not name; asm-generic/fcntl.h, the same on x64 and arm64. */
export const O_PATH = 0o10000000;
export const O_CLOEXEC = 0o2000000;
/** These two differ between architectures, and node:fs knows them. */
export const { O_DIRECTORY, O_NOFOLLOW } = constants;
/** include/uapi/linux/fcntl.h */
export const AT_FDCWD = -100;
export const AT_EMPTY_PATH = 0x1000;
export const AT_REMOVEDIR = 0x200;
export const RENAME_NOREPLACE = 1;
/** include/uapi/linux/mount.h */
export const MNT_DETACH = 2;
export const OPEN_TREE_CLONE = 1;
export const MOVE_MOUNT_BOTH_EMPTY_PATHS = 0x04 | 0x40;
/** `struct mount_attr` of mount_setattr(2): attr_set, attr_clr, propagation, userns_fd. */
export const MOUNT_ATTR_BYTES = 32;
export const MOUNT_ATTR_RDONLY = 1n;
export const MOUNT_ATTR_NOSUID = 2n;
export const MOUNT_ATTR_NODEV = 4n;
export const MOUNT_ATTR_NOEXEC = 8n;
export const MS_PRIVATE = 0x40000n;
