import { closeSync } from 'node:fs';
import { fail } from '../../contract/failures.ts';
import { O_PATH } from './flags.ts';
import { openInRoot } from './open-in-root.ts';
import { hasCode } from './syscall.ts';

/**
 * Throws `Internal` on kernels before 5.6, which cannot open a tenant's file safely (and have no replacement of device
 * programs as a compare-and-swap). Asked of the kernel: distributions add system calls to older versions.
 */
export function refuseOldKernel(): void {
  try {
    closeSync(openInRoot(AT_FDCWD, '/', O_PATH));
  } catch (err) {
    if (!hasCode(err, 'ENOSYS')) throw err;
    throw fail('Internal', 'Cannot change containers: the kernel must have openat2 (Linux 5.6), has not', err);
  }
}

const AT_FDCWD = -100;

const DEV_PATH = /^\/dev(?:\/[^/\0]+)+$/;

/** The components below /dev. Throws `Invalid` unless `path` is absolute, normalised and below /dev. */
export function componentsBelowDev(path: string): readonly string[] {
  const parts = path.split('/').slice(2);
  if (!DEV_PATH.test(path) || parts.some((part) => part === '.' || part === '..' || part.length > 200)) {
    throw fail('Invalid', `Cannot use device path "${path}": it must be absolute, normalised and below /dev`);
  }
  return parts;
}
