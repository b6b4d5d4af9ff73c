import { fstatSync, statfsSync } from 'node:fs';
import type { ContainerRoot } from './container-root.ts';
import { major, minor } from './device-number.ts';
import type { ContainerDev } from './engine.ts';
import { O_DIRECTORY } from './flags.ts';
import { linesOf } from './lines.ts';
import { withPath } from './open-in-root.ts';
import { hasCode } from './syscall.ts';

/** Looks at the /dev of a container. */
export function devOf(root: ContainerRoot): ContainerDev {
  if (isDevOfHost(root)) return 'shared';
  if (root.inUserNamespace) return 'user-namespace';
  return isReadOnly(root.pid) ? 'read-only' : 'own';
}

/** False where there is no /dev, or none that may be asked. */
function isDevOfHost({ rootFd, guard }: ContainerRoot): boolean {
  try {
    return withPath(rootFd, '/dev', O_DIRECTORY, isOfHost, guard);
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
export function isOfHost(directoryFd: number): boolean {
  const { dev } = fstatSync(directoryFd, { bigint: true });
  // First: a file system that is asked for more than this may be another machine's.
  if (isMountedOnHost(dev)) return true;
  return !OWN.has(statfsSync(`/proc/self/fd/${directoryFd}`, { bigint: true }).type);
}

function isMountedOnHost(dev: bigint): boolean {
  const number = ` ${major(dev)}:${minor(dev)} `;
  for (const line of linesOf('/proc/1/mountinfo')) if (line.includes(number)) return true;
  return false;
}

/** Whether the last mount on /dev has the mount option `ro` (field 6 of proc_pid_mountinfo(5)). */
function isReadOnly(pid: number): boolean {
  let options = '';
  for (const line of linesOf(`/proc/${pid}/mountinfo`)) {
    const fields = line.split(' ', 6);
    if (fields[4] === '/dev') options = fields[5] ?? '';
  }
  return options.split(',').includes('ro');
}
