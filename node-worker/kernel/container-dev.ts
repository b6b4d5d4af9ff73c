import { fstatSync, readFileSync, readlinkSync } from 'node:fs';
import { major, minor } from './device-number.ts';
import { O_DIRECTORY } from './flags.ts';
import type { MountGuard } from './mount-guard.ts';
import { withPath } from './open-in-root.ts';
import { hasCode } from './syscall.ts';

/** What a container's /dev is, which decides how a node gets into it. */
export interface ContainerDev {
  readonly kind: 'own' | 'shared' | 'user-namespace' | 'read-only';
}

/** Looks at the /dev of a process whose root directory is `rootFd`. */
export function devOf(pid: number, rootFd: number, hostMounts: string, guard: MountGuard): ContainerDev {
  const dev = deviceNumberOfDirectory(rootFd, '/dev', guard);
  if (dev !== undefined && isHostFilesystem(dev, hostMounts)) return { kind: 'shared' };
  if (readlinkSync(`/proc/${pid}/ns/user`) !== readlinkSync('/proc/self/ns/user')) return { kind: 'user-namespace' };
  return { kind: isReadOnly(readFileSync(`/proc/${pid}/mountinfo`, 'utf8')) ? 'read-only' : 'own' };
}

/** st_dev of a directory in a container, or undefined when there is none that may be asked. */
function deviceNumberOfDirectory(rootFd: number, path: string, guard: MountGuard): bigint | undefined {
  try {
    return withPath(rootFd, path, O_DIRECTORY, (fd) => fstatSync(fd, { bigint: true }).dev, guard);
  } catch (err) {
    if (hasCode(err, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EWOULDBLOCK')) return undefined;
    throw err;
  }
}

/**
 * Whether a filesystem is mounted on the host too: devtmpfs, a hostPath, an emptyDir. What we would write there others
 * would see, and what we would delete there could be the host's. A container's own /dev is mounted nowhere else.
 */
export function isHostFilesystem(dev: bigint, hostMounts = readHostMounts()): boolean {
  return hostMounts.includes(` ${major(dev)}:${minor(dev)} `);
}

/** Whether the last mount on /dev has the mount option `ro` (field 6 of proc_pid_mountinfo(5)). */
function isReadOnly(mountinfo: string): boolean {
  const options = mountinfo
    .split('\n')
    .map((line) => line.split(' '))
    .findLast((fields) => fields[4] === '/dev')?.[5];
  return options?.split(',').includes('ro') ?? false;
}

/** What is mounted on the host now, as text of proc_pid_mountinfo(5). */
export function readHostMounts(): string {
  return readFileSync('/proc/1/mountinfo', 'utf8');
}
