import { execFileSync } from 'node:child_process';
import {
  closeSync,
  fstatSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { RUNS } from '../test/property-runs.ts';
import { deviceFile, matches, matchesOf } from './dev-tree.ts';

let host = '';
let root = '';

beforeEach(() => {
  host = mkdtempSync(join(tmpdir(), 'host-'));
  root = join(host, 'dev');
  for (const folder of ['dev/serial/by-id', 'etc', 'dev/tree']) mkdirSync(join(host, folder), { recursive: true });
  for (const name of ['dev/ttyUSB0', 'etc/ttyUSB0']) execFileSync('mknod', [join(host, name), 'c', '188', '0']);
  execFileSync('mknod', [join(root, 'sda1'), 'b', '259', '1048575']);
  writeFileSync(join(root, 'ttyUSB9'), 'no device');
});
afterEach(() => rmSync(host, { recursive: true }));

describe('deviceFile()', () => {
  test.each([
    ['../../ttyUSB0', '/dev/ttyUSB0'],
    ['/dev/ttyUSB0', '/dev/ttyUSB0'],
    ['/dev/serial/../ttyUSB0', '/dev/ttyUSB0'],
    ['../../../dev/ttyUSB0', '/dev/ttyUSB0'],
    ['usb-A', undefined],
    ['../../../etc/ttyUSB0', undefined],
    ['/etc/ttyUSB0', undefined],
    ['/etc/../dev/ttyUSB0', undefined],
    ['../../outside/ttyUSB0', undefined],
    ['../../ttyUSB9', undefined],
    ['../../ttyUSB9/../ttyUSB0', undefined],
    ['../../ttyUSB0/', undefined],
    ['../../gone', undefined],
    ['/dev', undefined],
  ])('follows a link to %s as the host does, and only below /dev', (target, path) => {
    symlinkSync('/etc', join(root, 'outside'));
    symlinkSync(target, join(root, 'serial/by-id/usb-A'));
    expect(deviceFile('/dev/serial/by-id/usb-A', root)).toEqual(path && { path, number: 'c188:0' });
  });

  test('tells the kind and the number', () => {
    expect(deviceFile('/dev/sda1', root)).toEqual({ path: '/dev/sda1', number: 'b259:1048575' });
  });

  // Relative ones: for an absolute one, the kernel would have to take the same root for the host's.
  const step = fc.constantFrom('a', 'b', 'c', '..', '.', 'tree', 'sub', '');
  const end = fc.constantFrom('a', 'b', 'c', 'ttyUSB0', 'ttyUSB0', '../ttyUSB9', 'ttyUSB0/', 'tree');
  const target = fc
    .tuple(fc.array(step, { maxLength: 4 }), end)
    .map(([steps, last]) => [...steps, last].join('/').replace(/^\/+/, ''));
  const place = fc.tuple(fc.constantFrom('', 'tree/', 'tree/sub/'), fc.constantFrom('a', 'b', 'c'));
  const links = fc.uniqueArray(fc.tuple(place, target), { maxLength: 6, selector: ([at]) => at.join('') });

  test('answers exactly where the kernel leads', () => {
    let followed = 0;
    fc.assert(
      fc.property(links, (made) => {
        const tree = mkdtempSync(join(root, 't'));
        mkdirSync(join(tree, 'tree/sub'), { recursive: true });
        for (const folder of ['', 'tree', 'tree/sub']) linkSync(join(root, 'ttyUSB0'), join(tree, folder, 'ttyUSB0'));
        for (const [at, to] of made) symlinkSync(to, join(tree, ...at));
        for (const [[folder, link]] of made) {
          const found = deviceFile(`/dev/${basename(tree)}/${folder}${link}`, root);
          if (found !== undefined) followed += 1;
          expect(found && join(host, found.path)).toBe(deviceOfKernel(join(tree, folder, link)));
        }
        rmSync(tree, { recursive: true });
      }),
      { numRuns: RUNS },
    );
    expect(followed).toBeGreaterThan(RUNS / 20);
  });
});

/** The path of the device file that the kernel finds. */
function deviceOfKernel(path: string): string | undefined {
  const O_PATH = 0o10000000;
  let fd: number | undefined;
  try {
    fd = openSync(path, O_PATH);
    return fstatSync(fd).isCharacterDevice() ? readlinkSync(`/proc/self/fd/${fd}`) : undefined;
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

describe('matchesOf()', () => {
  test('looks into a folder that a link leads to, as the host does', () => {
    symlinkSync('/dev/serial', join(root, 'ports'));
    symlinkSync('/etc', join(root, 'outside'));
    symlinkSync('../../ttyUSB0', join(root, 'serial/by-id/usb-A'));
    expect(matchesOf('/dev/ports/by-id/*', root)).toEqual(['/dev/ports/by-id/usb-A']);
    expect(matchesOf('/dev/outside/*', root)).toEqual([]);
  });
});

describe('matches()', () => {
  test.each([
    ['ttyUSB*', 'ttyUSB0', true],
    ['*', '', true],
    ['?', '', false],
    ['a*b?', 'a-b-bc', true],
    ['a*b', 'abc', false],
    ['tty.', 'ttyS', false],
    [`${'*a'.repeat(50)}b`, 'a'.repeat(250), false],
  ])('%s against %s: %s', (pattern, name, expected) => {
    expect(matches(pattern, name)).toBe(expected);
  });
});
