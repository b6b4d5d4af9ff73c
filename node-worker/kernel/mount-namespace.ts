import { closeSync, constants, openSync } from 'node:fs';
import type { ContainerRoot } from './container-root.ts';
import { O_DIRECTORY, O_PATH } from './flags.ts';
import { SyscallError, syscall } from './syscall.ts';

/** include/uapi/linux/sched.h */
const CLONE_FS = 0x200;
export const CLONE_NEWNS = 0x20000;

/** Runs `use` in the mount namespace of a container, as `inMountNamespace`. Once init has ended nobody sees that any more: ESRCH. */
export function inNamespaceOf<T>(container: ContainerRoot, use: () => T): T {
  const namespace = openSync(`/proc/${container.pid}/ns/mnt`, constants.O_RDONLY);
  try {
    // So the process of this pid was still the container's when its namespace was opened.
    if (!container.isAlive()) throw new SyscallError('setns', 'ESRCH', 'of a container that has ended');
    return inMountNamespace(namespace, use);
  } finally {
    closeSync(namespace);
  }
}

/**
 * Runs `use` with this thread in another mount namespace and returns it to its own. Only descriptors may be used inside:
 * a path would be one of the tenant's, so nothing but system calls belongs there, and nothing that waits. Other threads of
 * the process stay where they are. Throws `SyscallError`.
 */
export function inMountNamespace<T>(namespaceFd: number, use: () => T): T {
  return andBack(() => {
    syscall('setns', [namespaceFd, CLONE_NEWNS]);
    return use();
  });
}

/**
 * Runs `use`, which leaves this thread's mount namespace, and returns to it, to its root and to its working directory.
 * Threads share these two, and setns(2) answers EINVAL then: so this one gets its own before anything else.
 */
export function andBack<T>(use: () => T): T {
  const opened: number[] = [];
  const open = (path: string, flags: number): number => {
    const fd = openSync(path, flags);
    opened.push(fd);
    return fd;
  };
  syscall('unshare', [CLONE_FS]);
  try {
    const namespace = open('/proc/thread-self/ns/mnt', 0);
    const root = open('/', O_PATH | O_DIRECTORY);
    const directory = open('.', O_PATH | O_DIRECTORY);
    try {
      return use();
    } finally {
      goBack(namespace, root, directory);
    }
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

/** setns(2) sets root and working directory to the namespace's root, which need not be this process's. */
function goBack(namespace: number, root: number, directory: number): void {
  try {
    syscall('setns', [namespace, CLONE_NEWNS]);
    syscall('fchdir', [root]);
    syscall('chroot', ['.']);
    syscall('fchdir', [directory]);
  } catch {
    // Every path would be the tenant's from here on; no error handler may run in there.
    process.abort();
  }
}
