import { execFileSync } from 'node:child_process';
import { lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { stripTypes } from './strip-types.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'strip-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('stripTypes()', () => {
  test('leaves code that runs the same where Node removes no types', () => {
    mkdirSync(join(folder, 'part'));
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
    writeFileSync(
      join(folder, 'main.ts'),
      "import { one } from './part/one.ts';\nconsole.log(one satisfies number);\n",
    );
    writeFileSync(join(folder, 'part/one.ts'), 'export const one: number = 1;\n');
    stripTypes(folder);
    const args = ['--no-strip-types', join(folder, 'main.ts')];
    expect(execFileSync(process.execPath, args, { encoding: 'utf8' })).toBe('1\n');
  });

  test('keeps lines, columns and modes, and leaves dependencies and other files alone', () => {
    mkdirSync(join(folder, 'node_modules'));
    writeFileSync(join(folder, 'node_modules/x.ts'), 'const a: number = 1;');
    writeFileSync(join(folder, 'data.json'), '{}');
    writeFileSync(join(folder, 'command.ts'), '#!/usr/bin/node\nconst a: number = 1;\n', { mode: 0o755 });
    stripTypes(folder);
    expect(readFileSync(join(folder, 'command.js'), 'utf8')).toBe('#!/usr/bin/node\nconst a         = 1;\n');
    expect(lstatSync(join(folder, 'command.js')).mode & 0o777).toBe(0o755);
    expect(lstatSync(join(folder, 'command.ts')).isSymbolicLink()).toBe(true);
    expect(lstatSync(join(folder, 'node_modules/x.ts')).isFile()).toBe(true);
    expect(readFileSync(join(folder, 'data.json'), 'utf8')).toBe('{}');
  });
});
