import { constants } from 'node:os';
import koffi from 'koffi';
import { type SyscallName, syscallNumber } from './syscall-numbers.ts';

/** Something whose address a system call takes: bytes that stay where they are, or a number as it is. */
export type SyscallArgument = number | bigint | string | Buffer;

/** A system call that failed. `code` is the name of errno, for example `ENOENT`. */
export class SyscallError extends Error {
  override readonly name = 'SyscallError';
  readonly syscall: SyscallName;
  readonly code: string;

  constructor(syscall: SyscallName, code: string, about: string) {
    super(`${syscall}${about === '' ? '' : ` ${about}`}: ${code}`);
    this.syscall = syscall;
    this.code = code;
  }
}

type Kind = 'int64' | 'void *' | 'str';
type LibcSyscall = (...args: readonly (number | SyscallArgument)[]) => number | bigint;

const libc = koffi.load(null);
const { errno: lastErrno } = koffi;
const ARGUMENTS = 6;
/** By the kinds of its arguments. */
const libcSyscalls = new Map<string, LibcSyscall>();

/**
 * syscall(2) of libc, which takes any kinds. Bytes and strings go to it as they are: an address that was taken before would be that
 * of something freed if garbage were collected between that and the call.
 */
function libcSyscall(args: readonly SyscallArgument[]): LibcSyscall {
  const kinds = args.map(kindOf);
  const key = kinds.join();
  const known = libcSyscalls.get(key);
  if (known !== undefined) return known;
  const made = libc.func('syscall', 'int64', ['int64', ...kinds]) as LibcSyscall;
  libcSyscalls.set(key, made);
  return made;
}

function kindOf(arg: SyscallArgument): Kind {
  if (typeof arg === 'string') return 'str';
  return Buffer.isBuffer(arg) ? 'void *' : 'int64';
}

/** Some numbers have two names (EAGAIN, EWOULDBLOCK): the first of the table is the one man pages use. */
const CODES = new Map<number, string>(
  Object.entries(constants.errno)
    .reverse()
    .map(([name, number]) => [number, name]),
);

/**
 * Makes one system call and returns its result. Buffers and strings are passed by address and kept alive across the
 * call. Buffers must be off the V8 heap: `Buffer.allocUnsafeSlow` or at least 128 bytes. Throws `SyscallError`.
 */
export function syscall(name: SyscallName, args: readonly SyscallArgument[], about = ''): number {
  const all = [...args, ...NONE.slice(args.length)];
  const call = libcSyscall(all);
  const number = syscallNumber(name);
  const result = call(number, ...all);
  // koffi asks libc for it only now, so nothing may come in between.
  const errno = result < 0 ? lastErrno() : 0;
  if (result < 0) throw new SyscallError(name, CODES.get(errno) ?? `errno ${errno}`, about);
  return Number(result);
}

/** What is not given is 0, as in C. */
const NONE: readonly number[] = Array.from({ length: ARGUMENTS }, () => 0);

/** Address of bytes, for a struct that holds a pointer. The caller keeps `bytes` alive across the call. */
export function addressOf(bytes: Buffer): bigint {
  return koffi.address(bytes);
}

/** Zeroed bytes that never move. */
export function stableBytes(length: number): Buffer {
  return Buffer.allocUnsafeSlow(Math.max(length, 128)).fill(0);
}

/** Whether `err` is a failed call of ours or of node:fs with one of these errno names. */
export function hasCode(err: unknown, ...codes: readonly string[]): err is Error & { readonly code: string } {
  // Not `instanceof`: errors of node:fs can come from another realm.
  return typeof err === 'object' && err !== null && 'code' in err && codes.some((code) => code === err.code);
}
