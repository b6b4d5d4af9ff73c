import { closeSync } from 'node:fs';
import { O_PATH } from './flags.ts';
import { hasCode, stableBytes, syscall } from './syscall.ts';

/**
 * Opens files of a tenant. A tenant can put a symlink anywhere, also while we look, so no path string of a tenant goes to
 * node:fs: it is resolved by the kernel below a descriptor, without symlinks, and then only descriptors are used.
 */
const RESOLVE = { noMagicLinks: 0x02, noSymlinks: 0x04, inRoot: 0x10 } as const;
/** openat2(2) answers EAGAIN when something was renamed while it looked for `..`. */
const MAX_ATTEMPTS = 128;

/** Opens `path` with `rootFd` as its root directory. Throws `SyscallError`: ELOOP on any symlink, ENOENT. */
export function openInRoot(rootFd: number, path: string, flags: number, mode = 0): number {
  if (path.includes('\0')) throw new RangeError('Cannot open a path: it has a zero byte in it');
  const how = stableBytes(24);
  how.writeBigUInt64LE(BigInt(flags | O_CLOEXEC), 0);
  how.writeBigUInt64LE(BigInt(mode), 8);
  how.writeBigUInt64LE(BigInt(RESOLVE.inRoot | RESOLVE.noSymlinks | RESOLVE.noMagicLinks), 16);
  for (let attempt = 1; ; attempt++) {
    try {
      return syscall('openat2', [rootFd, path, how, 24], path);
    } catch (err) {
      if (!hasCode(err, 'EAGAIN') || attempt === MAX_ATTEMPTS) throw err;
    }
  }
}

/** The same on every architecture (asm-generic/fcntl.h). */
const O_CLOEXEC = 0o2000000;

/** Runs `use` with a descriptor that only names the file (O_PATH), never the target of a symlink. */
export function withPath<T>(rootFd: number, path: string, flags: number, use: (fd: number) => T): T {
  const fd = openInRoot(rootFd, path, O_PATH | flags);
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}
