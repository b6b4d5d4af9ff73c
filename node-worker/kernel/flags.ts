import { constants } from 'node:fs';

/** Open flags that node:fs does not name; asm-generic/fcntl.h, the same on x64 and arm64. */
export const O_PATH = 0o10000000;
/** These two differ between architectures, and node:fs knows them. */
export const { O_DIRECTORY, O_NOFOLLOW } = constants;
/** include/uapi/linux/fcntl.h */
export const AT_FDCWD = -100;
export const AT_EMPTY_PATH = 0x1000;
export const AT_REMOVEDIR = 0x200;
export const RENAME_NOREPLACE = 1;
