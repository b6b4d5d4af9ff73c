import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { NUMBERS } from './syscall-numbers.ts';

/** Headers of the kernel, in Debian's linux-libc-dev. arm64 has the generic numbers. */
const HEADERS = {
  x64: '/usr/include/x86_64-linux-gnu/asm/unistd_64.h',
  arm64: '/usr/include/asm-generic/unistd.h',
} as const;

/** x64's are there on x64 only. */
const ARCHITECTURES = process.arch === 'x64' ? (['x64', 'arm64'] as const) : (['arm64'] as const);

test.each(ARCHITECTURES)("the numbers for %s are those of the kernel's headers", (arch) => {
  const header = readFileSync(HEADERS[arch], 'utf8');
  const ofKernel = new Map(
    [...header.matchAll(/^#define __NR(?:3264)?_(\w+)\s+(\d+)$/gm)].map(([, name, number]) => [name, Number(number)]),
  );
  const names = Object.keys(NUMBERS) as (keyof typeof NUMBERS)[];
  expect(names.map((name) => [name, NUMBERS[name][arch]])).toEqual(names.map((name) => [name, ofKernel.get(name)]));
});
