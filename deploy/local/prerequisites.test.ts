import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { expect, test } from '@jest/globals';
import { PACKAGES } from './prerequisites.ts';
import { REPOSITORY } from './state.ts';

/** Asked for by `missingPrerequisites` or `ensureSystemPackages`, or come with Node, or what this repository came by. */
const ASKED_FOR = ['apt-get', 'gcc', 'git', 'go', 'node', 'npm'];
/** In packages that every Debian has (`Essential: yes`, or Priority `required`): bash, coreutils, dash, mount, tar. */
const ESSENTIAL = [
  'bash',
  'cat',
  'chroot',
  'cp',
  'ldd',
  'mknod',
  'mount',
  'mv',
  'sh',
  'sleep',
  'stat',
  'tar',
  'umount',
];
/** A command's name as a literal, first in a call that starts it. */
const START = /(?<![.\w])(?:spawn|spawnSync|execFile\w*|run|runSync|runToFile|ended)\(\s*'([\w/.-]+)'/g;

function commandsIn(folder: string): string[] {
  const files = readdirSync(join(REPOSITORY, folder), { recursive: true, encoding: 'utf8' });
  return files
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) => [...readFileSync(join(REPOSITORY, folder, file), 'utf8').matchAll(START)])
    .map(([, command = '']) => basename(command));
}

test('every command that start and tests run is installed by them, or is on every machine', () => {
  const used = new Set(['deploy/local', 'test'].flatMap(commandsIn));
  const installed = PACKAGES.flatMap(({ shownBy }) => shownBy.map((file) => basename(file)));
  expect(used).toContain('curl');
  expect([...used].filter((command) => ![...installed, ...ASKED_FOR, ...ESSENTIAL].includes(command))).toEqual([]);
});
