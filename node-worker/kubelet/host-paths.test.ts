import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { hostFileAt, hostNamesIn, hostPathsOf, hostTextOf } from './host-paths.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'host-'));
  mkdirSync(join(root, 'dev/dir'), { recursive: true });
  writeFileSync(join(root, 'dev/node'), '');
});
afterEach(() => rmSync(root, { recursive: true }));

const link = (path: string, target: string): void => symlinkSync(target, join(root, path));

describe('hostPathsOf()', () => {
  test.each([
    ['a path without links', '/dev/node', undefined],
    ['a path that is not normalised', '/dev/./dir/../node', undefined],
    ['a relative link', '/dev/link', ['dev/link', 'dir/../node']],
    ['an absolute link, which starts at the root of the host', '/dev/link', ['dev/link', '/dev/node']],
    ['a link that wants to leave the root', '/dev/link', ['dev/link', '../../../../../../dev/node']],
    ['a link in the middle', '/d/node', ['d', 'dev']],
  ] as const)('follows %s', (_name, path, made) => {
    if (made !== undefined) link(made[0], made[1]);
    expect(hostPathsOf(root, path)).toEqual([{ rest: '', hostPath: '/dev/node' }]);
  });

  test.each([
    ['a file that is not there', '/dev/none', 'has no such file'],
    ['a link without an end', '/dev/loop', 'have no end'],
    ['a directory without device nodes', '/dev/dir', 'has none'],
  ])('refuses %s', (_name, path, message) => {
    link('dev/loop', 'loop');
    expect(() => hostPathsOf(root, path)).toThrow(message);
  });

  test('finds the device nodes below a directory, and not its links', () => {
    link('dev/dir/null', '/dev/null');
    const found = hostPathsOf('', '/dev');
    expect(found).toContainEqual({ rest: '/null', hostPath: '/dev/null' });
    expect(found.some(({ rest }) => rest.startsWith('/pts') || rest === '/fd' || rest === '/stdin')).toBe(false);
  });
});

test('hostTextOf() reads files only, and those inside of the root', () => {
  writeFileSync(join(root, 'dev/dir/text'), 'own');
  link('run', '/dev/dir');
  expect(hostTextOf(root, '/run/text')).toBe('own');
  expect(hostTextOf(root, '/run/none')).toBeUndefined();
  expect(() => hostTextOf(root, '/run')).toThrow('it is not a file');
  truncateSync(join(root, 'dev/dir/text'), 5 * 1024 * 1024);
  expect(() => hostTextOf(root, '/run/text')).toThrow('more than 4194304 bytes');
});

test('hostNamesIn() lists a directory', () => {
  for (const name of ['b', 'c', 'a']) writeFileSync(join(root, 'dev/dir', name), '');
  link('run', '/dev/dir');
  expect(hostNamesIn(root, '/run').toSorted()).toEqual(['a', 'b', 'c']);
  expect(hostNamesIn(root, '/run/a')).toEqual([]);
  expect(hostNamesIn(root, '/none')).toEqual([]);
});

test('hostFileAt() follows links within the root, to files and folders', () => {
  link('run', '/dev/dir/../node');
  link('out', '../../../../dev/dir');
  link('loop', 'loop');
  expect(['/run', '/out', '/none', '/loop', '/dev/none/x'].map((path) => hostFileAt(root, path))).toEqual([
    '/dev/node',
    '/dev/dir',
    undefined,
    undefined,
    undefined,
  ]);
});

test('hostFileAt() finds what is below /usr by its name from before', () => {
  mkdirSync(join(root, 'usr/lib64'), { recursive: true });
  writeFileSync(join(root, 'usr/lib64/a'), '');
  expect(['/lib64/a', '/lib64/b', '/library/a'].map((path) => hostFileAt(root, path))).toEqual([
    '/usr/lib64/a',
    undefined,
    undefined,
  ]);
  mkdirSync(join(root, 'lib64'));
  writeFileSync(join(root, 'lib64/a'), '');
  expect(hostFileAt(root, '/lib64/a')).toBe('/lib64/a');
});
