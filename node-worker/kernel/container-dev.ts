import { fstatSync, readFileSync, readlinkSync, statfsSync } from 'node:fs';
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
  if (isDevOfHost(rootFd, hostMounts, guard)) return { kind: 'shared' };
  if (readlinkSync(`/proc/${pid}/ns/user`) !== readlinkSync('/proc/self/ns/user')) return { kind: 'user-namespace' };
  return { kind: isReadOnly(readFileSync(`/proc/${pid}/mountinfo`, 'utf8')) ? 'read-only' : 'own' };
}

/** False where there is no /dev, or none that may be asked. */
function isDevOfHost(rootFd: number, hostMounts: string, guard: MountGuard): boolean {
  try {
    return withPath(rootFd, '/dev', O_DIRECTORY, (fd) => isOfHost(fd, hostMounts), guard);
  } catch (err) {
    if (hasCode(err, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EWOULDBLOCK')) return false;
    throw err;
  }
}

/**
 * File systems that a container's own /dev and its root directory are on: tmpfs, ramfs, overlay (include/uapi/linux/magic.h). On
 * others what stat(2) tells of a directory need not be what mountinfo tells of its mount: on btrfs each subvolume has a number
 * of its own.
 */
const OWN: ReadonlySet<bigint> = new Set([0x01021994n, 0x858458f6n, 0x794c7630n]);

/**
 * Whether a directory lies on a file system that the host has mounted, too: devtmpfs, a hostPath, an emptyDir. What we would write
 * there others would see, and what we would delete there could be the host's. A container's own /dev is mounted nowhere else.
 */
export function isOfHost(directoryFd: number, hostMounts = readHostMounts()): boolean {
  const { dev } = fstatSync(directoryFd, { bigint: true });
  // First: a file system that is asked for more than this may be another machine's.
  if (hostMounts.includes(` ${major(dev)}:${minor(dev)} `)) return true;
  return !OWN.has(statfsSync(`/proc/self/fd/${directoryFd}`, { bigint: true }).type);
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
