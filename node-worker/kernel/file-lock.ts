import { closeSync, constants, openSync } from 'node:fs';
import { hasCode, syscall } from './syscall.ts';

/** include/uapi/asm-generic/fcntl.h */
const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Makes the file where it is missing and locks it (flock(2)) for as long as the descriptor that is returned is open: the kernel
 * unlocks it when this process ends, however that happens. Undefined when another process has it.
 */
export function lockFile(path: string): number | undefined {
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  try {
    syscall('flock', [fd, LOCK_EX | LOCK_NB], path);
    return fd;
  } catch (err) {
    closeSync(fd);
    if (hasCode(err, 'EAGAIN')) return undefined;
    throw err;
  }
}
