import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { assert, nat, property, tuple } from 'fast-check';
import { RUNS } from '../../test/property-runs.ts';
import { parseLibrary, type ReadAt } from './elf.ts';

/** The C library of this process, by what it has mapped. */
const LIBC = / (\/.*\/libc\.so\.6)$/m.exec(readFileSync('/proc/self/maps', 'utf8'))?.[1] ?? '';

function ofFile<T>(path: string, use: (readAt: ReadAt) => T): T {
  const fd = openSync(path, 'r');
  try {
    return use((offset, length) => {
      const bytes = Buffer.alloc(length);
      return bytes.subarray(0, readSync(fd, bytes, 0, length, offset));
    });
  } finally {
    closeSync(fd);
  }
}

const ofBytes =
  (bytes: Buffer): ReadAt =>
  (offset, length) =>
    bytes.subarray(offset, offset + length);

describe('parseLibrary()', () => {
  test('tells the soname of a real library, and what it needs', () => {
    expect(ofFile(LIBC, parseLibrary)).toEqual({
      soname: 'libc.so.6',
      needs: [expect.stringMatching(/^ld-linux-.*\.so\.\d$/)],
    });
  });

  test('is undefined for a library of another machine, a script and an empty file', () => {
    const other = process.arch === 'x64' ? 'arm64' : 'x64';
    expect(ofFile(LIBC, (readAt) => parseLibrary(readAt, other))).toBeUndefined();
    expect(ofFile(LIBC, (readAt) => parseLibrary(readAt, 'mips'))).toBeUndefined();
    expect(parseLibrary(ofBytes(Buffer.from('#!/bin/sh\n'.padEnd(100))))).toBeUndefined();
    expect(parseLibrary(ofBytes(Buffer.alloc(0)))).toBeUndefined();
  });

  test('never says anything but a file name of a damaged library, and throws nothing', () => {
    const whole = readFileSync(LIBC);
    const table = Number(whole.readBigUInt64LE(32));
    const places = tuple(nat(table + 56 * 16), nat(255));
    assert(
      property(places, places, (...changes) => {
        const readAt: ReadAt = (offset, length) => {
          const piece = Buffer.from(whole.subarray(offset, offset + length));
          for (const [at, byte] of changes) if (at >= offset) piece[at - offset] = byte;
          return piece;
        };
        const { soname = 'a', needs = [] } = parseLibrary(readAt) ?? {};
        for (const name of [soname, ...needs]) expect(name).toMatch(/^[\w.+@~-]+$/);
      }),
      // Few of them lead to a name at all.
      { numRuns: 10 * RUNS },
    );
  });
});
