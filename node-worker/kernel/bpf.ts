import { closeSync, fstatSync } from 'node:fs';
import { decode, encode, type Program } from '../cgroup/instruction.ts';
import { addressOf, hasCode, stableBytes, syscall } from './syscall.ts';

/** bpf(2) for programs of type BPF_PROG_TYPE_CGROUP_DEVICE. Numbers and layouts: include/uapi/linux/bpf.h. */
const COMMAND = {
  load: 5,
  attach: 8,
  detach: 9,
  fdById: 13,
  info: 15,
  query: 16,
  link: 28,
  updateLink: 29,
  linkFdById: 30,
  nextLink: 31,
} as const;
const PROG_TYPE_CGROUP_DEVICE = 15;
const ATTACH_TYPE_CGROUP_DEVICE = 6;
const QUERY_EFFECTIVE = 1;
export const ATTACH = { override: 1, multi: 2, replace: 4 } as const;

/** Larger than every attr the kernel knows: kernels 6.17 to 7.1 write `query.revision` past a shorter one. */
const ATTR_BYTES = 256;
const NAME_BYTES = 16;
/** The kernel gives up a load with EAGAIN when a signal is pending; libbpf tries as often. */
const LOAD_ATTEMPTS = 30;
const MAX_PROGRAMS = 1024;
/** include/uapi/asm-generic/resource.h */
const RLIMIT_MEMLOCK = 8;

export interface AttachedPrograms {
  readonly ids: readonly number[];
  /** The flags they were attached with; a replacement must give the same. */
  readonly flags: number;
  /** Counts changes; 0 on kernels before 6.16, which do not tell. */
  readonly revision: bigint;
}

export interface ProgramInfo {
  readonly id: number;
  readonly name: string;
  /** Hash of the instructions as they were loaded, hex. */
  readonly tag: string;
  /** The kernel's dump, or undefined when it hides it (bpf_jit_harden=2 with kptr_restrict=2). */
  readonly dump: Program | undefined;
}

function bpf(command: keyof typeof COMMAND, attr: Buffer): number {
  return syscall('bpf', [COMMAND[command], attr, ATTR_BYTES], command);
}

/** Device programs attached to a cgroup; with `effective`, also those above it, which are asked as well. */
export function attachedPrograms(cgroupFd: number, effective = false): AttachedPrograms {
  const ids = stableBytes(MAX_PROGRAMS * 4);
  const attr = stableBytes(ATTR_BYTES);
  attr.writeUInt32LE(cgroupFd, 0);
  attr.writeUInt32LE(ATTACH_TYPE_CGROUP_DEVICE, 4);
  attr.writeUInt32LE(effective ? QUERY_EFFECTIVE : 0, 8);
  attr.writeBigUInt64LE(addressOf(ids), 16);
  attr.writeUInt32LE(MAX_PROGRAMS, 24);
  bpf('query', attr);
  const count = attr.readUInt32LE(24);
  return {
    ids: Array.from({ length: count }, (_, index) => ids.readUInt32LE(index * 4)),
    flags: attr.readUInt32LE(12),
    revision: attr.readBigUInt64LE(56),
  };
}

/** Runs `use` with a descriptor of a loaded program. Throws `SyscallError` ENOENT when it is gone. */
export function withProgram<T>(id: number, use: (fd: number) => T): T {
  const attr = stableBytes(ATTR_BYTES);
  attr.writeUInt32LE(id, 0);
  return closing(bpf('fdById', attr), use);
}

/** Loads a program for as long as `use` runs (or it is attached there). The kernel's reason is in the error. */
export function withLoaded<T>(program: Program, name: string, use: (fd: number) => T): T {
  return closing(load(program, name), use);
}

function closing<T>(fd: number, use: (fd: number) => T): T {
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

function load(program: Program, name: string): number {
  for (let attempt = 1; ; attempt++) {
    try {
      return loadOnce(program, name);
    } catch (err) {
      const again = hasCode(err, 'EAGAIN') || (hasCode(err, 'EPERM') && attempt === 1 && raiseMemlock());
      if (!again || attempt === LOAD_ATTEMPTS) throw err;
    }
  }
}

/** Kernels before 5.11 count programs as locked memory of the process. Returns whether the limit could be raised. */
function raiseMemlock(): boolean {
  const limit = stableBytes(16);
  limit.fill(0xff, 0, 16);
  try {
    syscall('prlimit64', [0, RLIMIT_MEMLOCK, limit, 0]);
    return true;
  } catch (err) {
    if (hasCode(err, 'EPERM')) return false;
    throw err;
  }
}

function loadOnce(program: Program, name: string): number {
  const instructions = encode(program);
  // "Apache" is not GPL-compatible, which only matters for helper functions, and device filters call none.
  const license = stableBytes(16);
  license.write('Apache');
  const attr = stableBytes(ATTR_BYTES);
  attr.writeUInt32LE(PROG_TYPE_CGROUP_DEVICE, 0);
  attr.writeUInt32LE(program.length, 4);
  attr.writeBigUInt64LE(addressOf(instructions), 8);
  attr.writeBigUInt64LE(addressOf(license), 16);
  attr.write(name.slice(0, NAME_BYTES - 1), 48);
  const fd = bpf('load', attr);
  // Keeps both alive across the call.
  instructions.fill(0);
  license.fill(0);
  return fd;
}

export function programInfo(fd: number): ProgramInfo {
  const length = readInfo(fd, undefined).readUInt32LE(20);
  const dump = stableBytes(length);
  const info = readInfo(fd, { bytes: dump, length });
  const hidden = length === 0 || info.readBigUInt64LE(32) === 0n;
  return {
    id: info.readUInt32LE(4),
    tag: info.toString('hex', 8, 16),
    name: info.toString('latin1', 64, 64 + NAME_BYTES).split('\0', 1)[0] ?? '',
    dump: hidden ? undefined : decode(dump.subarray(0, info.readUInt32LE(20))),
  };
}

function readInfo(fd: number, dump: { bytes: Buffer; length: number } | undefined): Buffer {
  const info = stableBytes(ATTR_BYTES);
  if (dump !== undefined) {
    info.writeUInt32LE(dump.length, 20);
    info.writeBigUInt64LE(addressOf(dump.bytes), 32);
  }
  const attr = stableBytes(ATTR_BYTES);
  attr.writeUInt32LE(fd, 0);
  attr.writeUInt32LE(ATTR_BYTES, 4);
  attr.writeBigUInt64LE(addressOf(info), 8);
  bpf('info', attr);
  return info;
}

/** The tag alone, without a dump. */
export function programTag(fd: number): string {
  return readInfo(fd, undefined).toString('hex', 8, 16);
}

/**
 * Puts a program in the place of `oldFd`, at once for every open. ENOENT: `oldFd` is not attached (any more), so this is
 * a compare-and-swap. Cgroups attached without BPF_F_ALLOW_MULTI hold one program, which a plain attach replaces.
 */
export function replaceProgram(cgroupFd: number, newFd: number, oldFd: number, flags: number): void {
  if ((flags & ATTACH.multi) === 0) return attach(cgroupFd, newFd, flags, 0);
  try {
    attach(cgroupFd, newFd, flags | ATTACH.replace, oldFd);
  } catch (err) {
    // Also what the kernel answers to flags that it does not know.
    if (!hasCode(err, 'EINVAL')) throw err;
    replaceInTwoSteps(cgroupFd, newFd, oldFd, flags);
  }
}

/**
 * The same on kernels before 5.6, which have no BPF_F_REPLACE: both programs are asked for a moment, and what both allow is
 * what the narrower one does, so nothing that stays allowed is refused in between.
 */
export function replaceInTwoSteps(cgroupFd: number, newFd: number, oldFd: number, flags: number): void {
  attach(cgroupFd, newFd, flags, 0);
  try {
    detachProgram(cgroupFd, oldFd);
  } catch (err) {
    detachProgram(cgroupFd, newFd);
    throw err;
  }
}

export function attachProgram(cgroupFd: number, fd: number, flags: number): void {
  attach(cgroupFd, fd, flags, 0);
}

function attach(cgroupFd: number, fd: number, flags: number, replaceFd: number): void {
  const attr = stableBytes(ATTR_BYTES);
  attr.writeUInt32LE(cgroupFd, 0);
  attr.writeUInt32LE(fd, 4);
  attr.writeUInt32LE(ATTACH_TYPE_CGROUP_DEVICE, 8);
  attr.writeUInt32LE(flags, 12);
  attr.writeUInt32LE(replaceFd, 16);
  bpf('attach', attr);
}

/** Of links to cgroups: the program of a link is not replaced by an attach, only through the link. */
export function replaceProgramOfLink(cgroupFd: number, newFd: number, oldFd: number): boolean {
  const { id } = programInfo(oldFd);
  const cgroupId = fstatSync(cgroupFd, { bigint: true }).ino;
  for (const linkId of linkIds()) {
    const replaced = withLink(linkId, (linkFd) => {
      const info = readInfo(linkFd, undefined);
      const isIts = info.readUInt32LE(8) === id && info.readBigUInt64LE(16) === cgroupId;
      if (isIts) updateLink(linkFd, newFd, oldFd);
      return isIts;
    });
    if (replaced === true) return true;
  }
  return false;
}

function* linkIds(): Generator<number> {
  const attr = stableBytes(ATTR_BYTES);
  for (;;) {
    try {
      bpf('nextLink', attr);
    } catch (err) {
      if (hasCode(err, 'ENOENT')) return;
      throw err;
    }
    const id = attr.readUInt32LE(4);
    yield id;
    attr.writeUInt32LE(id, 0);
  }
}

function withLink<T>(id: number, use: (fd: number) => T): T | undefined {
  const attr = stableBytes(ATTR_BYTES);
  attr.writeUInt32LE(id, 0);
  try {
    return closing(bpf('linkFdById', attr), use);
  } catch (err) {
    if (hasCode(err, 'ENOENT')) return undefined;
    throw err;
  }
}

function updateLink(linkFd: number, newFd: number, oldFd: number): void {
  const attr = stableBytes(ATTR_BYTES);
  attr.writeUInt32LE(linkFd, 0);
  attr.writeUInt32LE(newFd, 4);
  attr.writeUInt32LE(ATTACH.replace, 8);
  attr.writeUInt32LE(oldFd, 12);
  bpf('updateLink', attr);
}

/** Attaches a program by a link, which lasts as long as the descriptor that is returned. */
export function linkProgram(cgroupFd: number, fd: number): number {
  const attr = stableBytes(ATTR_BYTES);
  attr.writeUInt32LE(fd, 0);
  attr.writeUInt32LE(cgroupFd, 4);
  attr.writeUInt32LE(ATTACH_TYPE_CGROUP_DEVICE, 8);
  return bpf('link', attr);
}

export function detachProgram(cgroupFd: number, fd: number): void {
  const attr = stableBytes(ATTR_BYTES);
  attr.writeUInt32LE(cgroupFd, 0);
  attr.writeUInt32LE(fd, 4);
  attr.writeUInt32LE(ATTACH_TYPE_CGROUP_DEVICE, 8);
  bpf('detach', attr);
}
