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

const libcSyscall = koffi
  .load(null)
  .func('int64 syscall(int64 n, int64 a, int64 b, int64 c, int64 d, int64 e, int64 f)') as (
  ...args: readonly (number | bigint)[]
) => number | bigint;

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
  const held = args.map((arg) => (typeof arg === 'string' ? stringBytes(arg) : arg));
  const raw = held.map((arg) => (Buffer.isBuffer(arg) ? koffi.address(arg) : arg));
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = raw;
  const result = Number(libcSyscall(syscallNumber(name), a, b, c, d, e, f));
  if (result < 0) {
    const errno = koffi.errno();
    throw new SyscallError(name, CODES.get(errno) ?? `errno ${errno}`, about);
  }
  return result;
}

/** Address of bytes, for a struct that holds a pointer. The caller keeps `bytes` alive across the call. */
export function addressOf(bytes: Buffer): bigint {
  return koffi.address(bytes);
}

/** Zeroed bytes that never move. */
export function stableBytes(length: number): Buffer {
  return Buffer.allocUnsafeSlow(Math.max(length, 128)).fill(0);
}

function stringBytes(text: string): Buffer {
  const bytes = stableBytes(Buffer.byteLength(text) + 1);
  bytes.write(text);
  return bytes;
}

/** Whether `err` is a failed call of ours or of node:fs with one of these errno names. */
export function hasCode(err: unknown, ...codes: readonly string[]): err is Error & { readonly code: string } {
  // Not `instanceof`: errors of node:fs can come from another realm.
  return typeof err === 'object' && err !== null && 'code' in err && codes.some((code) => code === err.code);
}
