import { readFileSync } from 'node:fs';
import { statNow } from './stat-now.ts';
import { SyscallError } from './syscall.ts';

/**
 * Throws `SyscallError` EWOULDBLOCK when a descriptor is on a file system that may keep who asks it waiting. Given to whatever
 * opens a tenant's file, before anything is asked of that file: a tenant can mount a file system of its own (FUSE) that never
 * answers, and this program would never end a system call.
 */
export type MountGuard = (fd: number) => void;

/** File systems in the kernel's memory, which a container's /dev and what it mounts in it are. */
const IN_MEMORY = /^(tmpfs|devtmpfs|ramfs|devpts|mqueue)$/;
/** Served by a program or by another machine; everything else can be the root of an image. */
const SERVED = /^(fuse|nfs|cifs|smb|9p|virtiofs|ceph|afs|coda|autofs|lustre|gfs|ocfs|orangefs|pvfs)/;

interface Mount {
  /** `0:25`, as stat(2) tells it of its files. */
  readonly device: string;
  /** Undefined: not listed, because it lies outside of the root directory that init has changed to. */
  readonly type: string | undefined;
}

/**
 * Passes what is in memory, and what the host has mounted, too: that its administrator answers for. `pid` is a process in the
 * container's mount namespace, `hostMounts` the host's mountinfo.
 */
export function guardOf(pid: number, hostMounts: string): MountGuard {
  return guard(pid, ({ type = '', device }) => IN_MEMORY.test(type) || hostMounts.includes(` ${device} `));
}

/** The same for the root directory, which may be on any disk: not every runtime mounts it where the host sees it. */
export function rootGuardOf(pid: number, hostMounts: string): MountGuard {
  return guard(
    pid,
    ({ type, device }) => (type !== undefined && !SERVED.test(type)) || hostMounts.includes(` ${device} `),
  );
}

/** For directories of a mount that was checked and has no other in it. */
export const unguarded: MountGuard = () => undefined;

function guard(pid: number, passes: (mount: Mount) => boolean): MountGuard {
  let mounts: ReadonlyMap<string, Mount> = new Map();
  return (fd) => {
    const id = mountIdOf(fd);
    // Mounted after the last look.
    if (!mounts.has(id)) mounts = parseMounts(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'));
    const mount = mounts.get(id) ?? { type: undefined, device: statNow(fd).fileSystem };
    if (!passes(mount)) throw new SyscallError('openat', 'EWOULDBLOCK', `on ${mount.type ?? 'an unknown mount'}`);
  };
}

/** Whether nothing was mounted on a file below a directory in between. */
export function isSameMount(fd: number, directoryFd: number): boolean {
  return mountIdOf(fd) === mountIdOf(directoryFd);
}

/** Told without asking the file system, by proc_pid_fdinfo(5) too; that is UTF-8, which node:fs reads without large buffers. */
function mountIdOf(fd: number): string {
  const { mountId } = statNow(fd);
  if (mountId !== undefined) return mountId;
  return /^mnt_id:\t(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '';
}

/** Mounts by id, from the text of proc_pid_mountinfo(5). */
export function parseMounts(mountinfo: string): ReadonlyMap<string, Mount> {
  return new Map(
    mountinfo.split('\n').flatMap((line) => {
      const [before = '', after = ''] = line.split(' - ');
      const [id = '', , device = ''] = before.split(' ');
      const [type = ''] = after.split(' ');
      return type === '' ? [] : [[id, { device, type }] as const];
    }),
  );
}
