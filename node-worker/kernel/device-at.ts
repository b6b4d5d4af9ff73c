import { deviceKey } from '../cgroup/rule.ts';
import type { DeviceId } from './engine.ts';
import { O_NOFOLLOW } from './flags.ts';
import { withPath } from './open-in-root.ts';
import { statNow } from './stat-now.ts';
import { hasCode } from './syscall.ts';

/** include/uapi/linux/stat.h */
export const S_IFCHR = 0o020000;
export const S_IFBLK = 0o060000;

/** What is at a path in a directory of a container; a symlink is never followed. */
export function deviceAt(directoryFd: number, name: string): DeviceId | 'nothing' | 'something else' {
  try {
    return withPath(directoryFd, name, O_NOFOLLOW, (fd) => statNow(fd).device ?? 'something else');
  } catch (err) {
    if (hasCode(err, 'ENOENT')) return 'nothing';
    if (hasCode(err, 'ELOOP')) return 'something else';
    throw err;
  }
}

export function isSameDevice(a: DeviceId | string, b: DeviceId): boolean {
  return typeof a !== 'string' && deviceKey(a) === deviceKey(b);
}
