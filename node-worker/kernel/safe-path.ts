import { closeSync } from 'node:fs';
import { fail } from '../../contract/failures.ts';
import { pidfdOpen } from './process.ts';
import { hasCode } from './syscall.ts';

/**
 * Throws `Internal` on kernels before 5.3, where a process can only be named by a pid, which may be used again. Asked of the
 * kernel: distributions add system calls to older versions. What later kernels have is tried where it is needed.
 */
export function refuseOldKernel(): void {
  try {
    closeSync(pidfdOpen(process.pid));
  } catch (err) {
    if (!hasCode(err, 'ENOSYS')) throw err;
    throw fail('Internal', 'Cannot change containers: the kernel must have pidfd_open (Linux 5.3), has not', err);
  }
}

const DEV_PATH = /^\/dev(?:\/[^/\0]+)+$/;

/** The components below /dev. Throws `Invalid` unless `path` is absolute, normalised and below /dev. */
export function componentsBelowDev(path: string): readonly string[] {
  const parts = path.split('/').slice(2);
  if (!DEV_PATH.test(path) || parts.some((part) => part === '.' || part === '..' || part.length > 200)) {
    throw fail('Invalid', `Cannot use device path "${path}": it must be absolute, normalised and below /dev`);
  }
  return parts;
}
