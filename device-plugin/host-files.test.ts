import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { NodeSpec } from './devs.ts';
import { deviceFile, devicesOf, matches } from './host-files.ts';

let root = '';

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'dev-'));
  for (const name of ['ttyUSB0', 'ttyUSB1', 'ttyUSB10']) makeDevice(name);
  writeFileSync(join(root, 'ttyUSB9'), 'no device');
  mkdirSync(join(root, 'serial/by-id'), { recursive: true });
});
afterEach(() => rmSync(root, { recursive: true }));

function makeDevice(name: string): void {
  execFileSync('mknod', [join(root, name), 'c', '1', '3']);
}

function found(nodes: readonly Partial<NodeSpec>[], count = 1): readonly string[] {
  const specs = nodes.map((node) => ({ path: '', permissions: 'rw', optional: false, ...node }));
  return devicesOf({ resource: 'hostdev.k8s.io/x', count, nodes: specs }, root).map(
    ({ ids, problem, nodes: files }) =>
      `${ids.join(' ')}: ${problem ?? files.map(({ hostPath, containerPath }) => `${hostPath} at ${containerPath}`).join(', ')}`,
  );
}

describe('devicesOf()', () => {
  test('a wildcard is a device for each device file', () => {
    expect(found([{ path: '/dev/ttyUSB?', containerPath: '/dev/usb/' }], 2)).toEqual([
      '/dev/ttyUSB0 /dev/ttyUSB0::1: /dev/ttyUSB0 at /dev/usb/ttyUSB0',
      '/dev/ttyUSB1 /dev/ttyUSB1::1: /dev/ttyUSB1 at /dev/usb/ttyUSB1',
    ]);
  });

  test('a group is one device, with those of its optional files that there are', () => {
    const group = [{ path: '/dev/ttyUSB0' }, { path: '/dev/gone', optional: true }, { path: '/dev/ttyUSB1' }];
    expect(found(group)).toEqual(['x: /dev/ttyUSB0 at /dev/ttyUSB0, /dev/ttyUSB1 at /dev/ttyUSB1']);
    unlinkSync(join(root, 'ttyUSB1'));
    expect(found(group)).toEqual(['x: /dev/ttyUSB1 is no device file of the host now']);
  });

  test('an optional device is not offered while it is away, another one is unhealthy', () => {
    expect(found([{ path: '/dev/gone', optional: true }])).toEqual([]);
    expect(found([{ path: '/dev/gone' }])).toEqual(['/dev/gone: /dev/gone is no device file of the host now']);
  });
});

describe('deviceFile()', () => {
  test.each([
    ['../../ttyUSB0', '/dev/ttyUSB0'],
    ['/dev/ttyUSB1', '/dev/ttyUSB1'],
    ['usb-A', undefined],
    ['../../../etc/passwd', undefined],
    ['/etc/passwd', undefined],
    ['/etc/ttyUSB0', undefined],
    ['../../ttyUSB9', undefined],
    ['../../gone', undefined],
  ])('follows a link to %s as the host does, and only below /dev', (target, file) => {
    symlinkSync(target, join(root, 'serial/by-id/usb-A'));
    expect(deviceFile('/dev/serial/by-id/usb-A', root)).toBe(file);
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
