import { readFileSync } from 'node:fs';
import { linesOf } from './lines.ts';
import { statNow } from './stat-now.ts';
import { SyscallError } from './syscall.ts';

/**
 * Throws `SyscallError` EWOULDBLOCK when a descriptor is on a file system that may keep who asks it waiting: a tenant can mount
 * one of its own (FUSE) that never answers. Given to whatever opens a tenant's file, before anything is asked of that file.
 * `parentFd` is the directory that it was opened in and has passed itself.
 */
export type MountGuard = (fd: number, parentFd: number) => void;

/** File systems in the kernel's memory, which a container's /dev and what it mounts in it are. */
const IN_MEMORY = /^(tmpfs|devtmpfs|ramfs|devpts|mqueue)$/;
/** Served by a program or by another machine; everything else can be the root of an image. */
const SERVED = /^(fuse|nfs|cifs|smb|9p|virtiofs|ceph|afs|coda|autofs|lustre|gfs|ocfs|orangefs|pvfs)/;

/** One line of proc_pid_mountinfo(5). */
export interface Mount {
  readonly id: string;
  /** `0:25`, as stat(2) tells it of its files. */
  readonly device: string;
  readonly type: string;
}

/**
 * Passes what is in memory, and what is mounted on the host, too, unless a program serves it. `pid` is a process in the
 * container's mount namespace, `rootFd` its root directory. Mounts are read anew for each descriptor and after it was opened:
 * the numbers of mounts and file systems are used again, but not while a descriptor holds them.
 */
export function guardOf(pid: number, rootFd: number): MountGuard {
  return (fd, parentFd) => {
    // More may be the root directory than what may be found in it.
    if (parentFd !== rootFd && isSameMount(fd, parentFd)) return;
    const mount = mountOf(pid, fd);
    if (mount !== undefined && IN_MEMORY.test(mount.type)) return;
    const host = hostMountOf(fd, mount);
    const type = mount?.type ?? host?.type;
    if (type !== undefined && IN_MEMORY.test(type)) return;
    if (type === undefined || SERVED.test(type) || host === undefined) refuse(type);
  };
}

/** The same for the root directory, which may be on any disk, and on what a program of the administrator's serves. */
export function checkRoot(pid: number, rootFd: number): void {
  const mount = mountOf(pid, rootFd);
  const type = mount?.type;
  if ((type === undefined || SERVED.test(type)) && hostMountOf(rootFd, mount) === undefined) refuse(type);
}

/** For directories of a mount that was checked and has no other in it. */
export const unguarded: MountGuard = () => undefined;

function refuse(type = 'an unknown mount'): never {
  throw new SyscallError('openat', 'EWOULDBLOCK', `on ${type}`);
}

/** Undefined when it is not listed: it lies outside of the root directory that init has changed to, or is unmounted. */
function mountOf(pid: number, fd: number): Mount | undefined {
  const wanted = mountIdOf(fd);
  return findMount(pid, ({ id }) => id === wanted);
}

/**
 * By what the mount tells, where it is known: files of a btrfs subvolume tell another number. What a container runtime mounts in a
 * namespace of its own is seen from here by way of the volume that has its folder, and there is nothing here that is not the host's.
 */
function hostMountOf(fd: number, mount: Mount | undefined): Mount | undefined {
  const fileSystem = mount?.device ?? statNow(fd).fileSystem;
  const isMeant = ({ device }: Mount): boolean => device === fileSystem;
  return findMount(1, isMeant) ?? findMount('self', isMeant);
}

function findMount(pid: number | 'self', isMeant: (mount: Mount) => boolean): Mount | undefined {
  for (const line of linesOf(`/proc/${pid}/mountinfo`)) {
    const mount = parseMount(line);
    if (mount !== undefined && isMeant(mount)) return mount;
  }
  return undefined;
}

/** Whether nothing was mounted on a file below a directory in between. */
export function isSameMount(fd: number, directoryFd: number): boolean {
  return mountIdOf(fd) === mountIdOf(directoryFd);
}

/** Told without asking the file system, by proc_pid_fdinfo(5) too; that is UTF-8, which node:fs reads without large buffers. */
export function mountIdOf(fd: number): string {
  const { mountId } = statNow(fd);
  if (mountId !== undefined) return mountId;
  return /^mnt_id:\t(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '';
}

/** Undefined for what is no line of proc_pid_mountinfo(5). */
export function parseMount(line: string): Mount | undefined {
  const [before = '', after = ''] = line.split(' - ');
  const [id = '', , device = ''] = before.split(' ');
  const [type = ''] = after.split(' ');
  return type === '' ? undefined : { id, device, type };
}
