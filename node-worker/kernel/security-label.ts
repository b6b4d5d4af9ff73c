import { hasCode, stableBytes, syscall } from './syscall.ts';

/** What SELinux decides by (security/selinux/hooks.c). Where it is not in force, this is an attribute like any other. */
const LABEL = 'security.selinux';
const MAX_BYTES = 4_096;

const pathOf = (directory: number, name = ''): string => `/proc/self/fd/${directory}/${name}`;

/**
 * Gives an entry of a directory of ours the label of `model`, a directory of a container: a container may use what has the label of its own
 * files. Without SELinux there is none, and nothing is changed. Throws `SyscallError`.
 */
export function labelAs(model: number, directory: number, name: string): void {
  const label = stableBytes(MAX_BYTES);
  const length = read(pathOf(model), label);
  if (length > 0) syscall('setxattr', [pathOf(directory, name), LABEL, label, length, 0], `the label of ${name}`);
}

/** Answers how many bytes the label has. */
function read(path: string, label: Buffer): number {
  try {
    return syscall('getxattr', [path, LABEL, label, label.length]);
  } catch (err) {
    if (hasCode(err, 'ENODATA', 'ENOTSUP', 'EOPNOTSUPP')) return 0;
    throw err;
  }
}
