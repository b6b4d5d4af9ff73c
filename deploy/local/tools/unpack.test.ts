import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { archiveOf, type Member } from '../../../test/mirror/host.ts';
import { unpack } from './unpack.ts';

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'unpack-'));
  mkdirSync(join(root, 'bin'));
});
afterEach(() => rmSync(root, { recursive: true }));

async function unpackOf(archive: Buffer, members: readonly string[]): Promise<void> {
  writeFileSync(join(root, 'archive'), archive);
  await unpack(join(root, 'archive'), members, join(root, 'bin'));
}

const files = (): string[] => readdirSync(join(root, 'bin')).sort();

describe('unpack()', () => {
  test('takes the named members to their base names, executable, and nothing else', async () => {
    const archive = await archiveOf(
      { name: './', type: 'directory' },
      { name: './ptp', text: 'ptp', mode: 0o4711 },
      { name: 'deep/down/portmap', text: 'portmap', mode: 0o600 },
      { name: 'README.md', text: 'read me' },
    );
    await unpackOf(archive, ['ptp', 'deep/down/portmap']);
    expect(files()).toEqual(['portmap', 'ptp']);
    expect(readFileSync(join(root, 'bin', 'ptp'), 'utf8')).toBe('ptp');
    expect(statSync(join(root, 'bin', 'ptp')).mode & 0o7777).toBe(0o755);
    expect(statSync(join(root, 'bin', 'portmap')).mode & 0o7777).toBe(0o755);
  });

  test('follows no path and no link of the archive', async () => {
    const archive = await archiveOf(
      { name: '../escaped', text: 'out' },
      { name: `${root}/absolute`, text: 'out' },
      { name: 'bin', type: 'symlink', linkname: root },
      { name: 'bin/ctr', text: 'ctr' },
    );
    await unpackOf(archive, ['bin/ctr']);
    expect(readdirSync(root).sort()).toEqual(['archive', 'bin']);
    expect(files()).toEqual(['ctr']);
    expect(existsSync(join(root, '..', 'escaped'))).toBe(false);
  });

  test.each<[string, Member[], string]>([
    ['is missing', [{ name: 'other', text: 'x' }], 'the archive lacks runc'],
    ['is a link', [{ name: 'runc', type: 'symlink', linkname: '/bin/sh' }], '"runc" in the archive is no plain file'],
    [
      'is there twice',
      [
        { name: 'runc', text: '1' },
        { name: './runc', text: '2' },
      ],
      'EEXIST',
    ],
  ])('throws when a member %s', async (_what, members, reason) => {
    await expect(unpackOf(await archiveOf(...members), ['runc'])).rejects.toThrow(reason);
  });

  test.each([
    ['is cut off', async () => (await archiveOf({ name: 'runc', text: 'x'.repeat(100_000) })).subarray(0, 100)],
    ['is no gzip', () => Promise.resolve(Buffer.from('<html>'))],
  ])('throws when the archive %s', async (_what, archive) => {
    await expect(unpackOf(await archive(), ['runc'])).rejects.toThrow();
  });
});
