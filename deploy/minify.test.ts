import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { minify } from './minify.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'minify-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('minify()', () => {
  test('leaves modules that do the same in fewer words', () => {
    writeFileSync(join(folder, 'package.json'), '{"type":"module","version":"1"}');
    writeFileSync(
      join(folder, 'main.js'),
      `/** What it is for. */
import { readFileSync } from 'node:fs';
import about from './package.json' with { type: 'json' };
// Nobody needs this.
export class Long {
    static name = \`a  b // c\`;
}
console.log(about.version, Long.name, readFileSync(import.meta.filename, 'utf8').includes('Nobody ' + 'needs'));
`,
    );
    minify(folder);
    expect(execFileSync(process.execPath, [join(folder, 'main.js')], { encoding: 'utf8' })).toBe('1 a  b // c false\n');
    expect(readFileSync(join(folder, 'main.js'), 'utf8')).not.toMatch(/What it is for|^ /m);
  });

  test('leaves scripts scripts, below folders, too, and keeps licences', () => {
    mkdirSync(join(folder, 'lib'));
    writeFileSync(join(folder, 'package.json'), '{"type":"commonjs"}');
    const script = '/*! Licence: MIT */\n// no\nexports.a = 1;\nconsole.log(exports.a, this === exports);\n';
    writeFileSync(join(folder, 'lib/main.js'), script);
    minify(folder);
    expect(execFileSync(process.execPath, [join(folder, 'lib/main.js')], { encoding: 'utf8' })).toBe('1 true\n');
    expect(readFileSync(join(folder, 'lib/main.js'), 'utf8')).toMatch(/^\/\*! Licence: MIT \*\//);
  });

  test('refuses what is no JavaScript, and leaves it as it is', () => {
    writeFileSync(join(folder, 'main.js'), 'let = = 1');
    expect(() => minify(folder)).toThrow('main.js');
    expect(readFileSync(join(folder, 'main.js'), 'utf8')).toBe('let = = 1');
  });
});
