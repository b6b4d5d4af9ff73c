import type { BigIntStats } from 'node:fs';

/** Bits 8-19 and 44-63 of a dev_t. `bigint`, because shifts of numbers have 32 bits. Layout: glibc bits/sysmacros.h. */
export function major(dev: bigint): number {
  return Number(((dev >> 8n) & 0xfffn) | ((dev >> 32n) & 0xfffff000n));
}

/** Bits 0-7 and 20-43 of a dev_t. */
export function minor(dev: bigint): number {
  return Number((dev & 0xffn) | ((dev >> 12n) & 0xffffff00n));
}

export function makedev(majorNumber: number, minorNumber: number): bigint {
  const [a, b] = [BigInt(majorNumber), BigInt(minorNumber)];
  return ((a & 0xfffn) << 8n) | ((a & 0xfffff000n) << 32n) | (b & 0xffn) | ((b & 0xffffff00n) << 12n);
}

/** Which device a node stands for, or undefined when the file is not a device node. */
export function deviceOf(
  stat: BigIntStats,
): { readonly type: 'c' | 'b'; readonly major: number; readonly minor: number } | undefined {
  const type = stat.isCharacterDevice() ? 'c' : stat.isBlockDevice() ? 'b' : undefined;
  return type && { type, major: major(stat.rdev), minor: minor(stat.rdev) };
}
