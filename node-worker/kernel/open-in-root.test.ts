import {
  closeSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { O_PATH } from './flags.ts';
import { openInRoot, withPath } from './open-in-root.ts';

let folder: string;
let root: number;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'open-in-root-'));
  mkdirSync(join(folder, 'root/a/b'), { recursive: true });
  writeFileSync(join(folder, 'root/a/b/file'), 'inside');
  writeFileSync(join(folder, 'secret'), 'outside');
  for (const [name, target] of [
    ['absolute', folder],
    ['climbing', '../../..'],
    ['good', 'b'],
    ['magic', '/proc/self/root'],
    ['directory', '/proc/self/cwd'],
    ['loop', 'loop'],
  ] as const)
    symlinkSync(target, join(folder, 'root/a', name));
  root = openSync(join(folder, 'root'), O_PATH);
});
afterAll(() => {
  closeSync(root);
  rmSync(folder, { recursive: true });
});

describe('openInRoot()', () => {
  test.each(['a/b/file', '/a/b/file', '//a///b/file'])('opens %s below its root', (path) => {
    const fd = openInRoot(root, path, 0);
    expect(readFileSync(fd, 'utf8')).toBe('inside');
    closeSync(fd);
  });

  test('opens the root itself', () => {
    for (const path of ['', '/']) expect(withPath(root, path, 0, (fd) => fstatSync(fd).ino)).toBe(fstatSync(root).ino);
  });

  test.each(['absolute', 'climbing', 'good', 'magic', 'directory', 'loop'])('follows no symlink: %s', (link) => {
    for (const rest of ['/secret', '/b/file', '/file', '/x'])
      expect(() => openInRoot(root, `a/${link}${rest}`, 0)).toThrow('ENOTDIR');
    expect(() => openInRoot(root, `a/${link}`, 0)).toThrow('ELOOP');
    expect(withPath(root, `a/${link}`, 0, (fd) => fstatSync(fd).isSymbolicLink())).toBe(true);
  });

  test.each(['../secret', 'a/../../secret', 'a/./b', '..', 'a/b\0'])('refuses %j', (path) => {
    expect(() => openInRoot(root, path, 0)).toThrow(RangeError);
  });

  test('leaves no descriptor open', () => {
    const next = openSync('/', O_PATH);
    closeSync(next);
    expect(() => openInRoot(root, 'a/b/missing/x', 0)).toThrow('ENOENT');
    const again = openSync('/', O_PATH);
    closeSync(again);
    expect(again).toBe(next);
  });
});
