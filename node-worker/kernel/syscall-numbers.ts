/**
 * Numbers of the system calls used here. x64: arch/x86/entry/syscalls/syscall_64.tbl; arm64: the generic table,
 * include/uapi/asm-generic/unistd.h.
 */
export const NUMBERS = {
  bpf: { x64: 321, arm64: 280 },
  chdir: { x64: 80, arm64: 49 },
  chroot: { x64: 161, arm64: 51 },
  fchdir: { x64: 81, arm64: 50 },
  fchmodat: { x64: 268, arm64: 53 },
  fchownat: { x64: 260, arm64: 54 },
  fcntl: { x64: 72, arm64: 25 },
  flock: { x64: 73, arm64: 32 },
  getxattr: { x64: 191, arm64: 8 },
  kcmp: { x64: 312, arm64: 272 },
  mkdirat: { x64: 258, arm64: 34 },
  mknodat: { x64: 259, arm64: 33 },
  mount: { x64: 165, arm64: 40 },
  mount_setattr: { x64: 442, arm64: 442 },
  move_mount: { x64: 429, arm64: 429 },
  open_tree: { x64: 428, arm64: 428 },
  openat: { x64: 257, arm64: 56 },
  pidfd_open: { x64: 434, arm64: 434 },
  pidfd_send_signal: { x64: 424, arm64: 424 },
  pivot_root: { x64: 155, arm64: 41 },
  ppoll: { x64: 271, arm64: 73 },
  prlimit64: { x64: 302, arm64: 261 },
  readlinkat: { x64: 267, arm64: 78 },
  removexattr: { x64: 197, arm64: 14 },
  renameat2: { x64: 316, arm64: 276 },
  setfsgid: { x64: 123, arm64: 152 },
  setfsuid: { x64: 122, arm64: 151 },
  setns: { x64: 308, arm64: 268 },
  setxattr: { x64: 188, arm64: 5 },
  statx: { x64: 332, arm64: 291 },
  symlinkat: { x64: 266, arm64: 36 },
  umount2: { x64: 166, arm64: 39 },
  unlinkat: { x64: 263, arm64: 35 },
  unshare: { x64: 272, arm64: 97 },
} as const;

export type SyscallName = keyof typeof NUMBERS;

/** Throws RangeError on an architecture whose numbers are not in the table. */
export function syscallNumber(name: SyscallName, arch: string = process.arch): number {
  if (arch !== 'x64' && arch !== 'arm64') {
    throw new RangeError(`Cannot make system calls on "${arch}": only x64 and arm64 are known`);
  }
  return NUMBERS[name][arch];
}
