import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';

const ROOT = join(import.meta.dirname, '..', '..');
const FILE = join(ROOT, 'docs', 'flags.md');
/** `UPDATE_FLAGS=1 npm run test:unit -- flags` writes the page anew. */
const UPDATES = process.env['UPDATE_FLAGS'] === '1';

const INTRODUCTION = `# Flags

What \`--help\` of each process prints. A flag wins over its environment variable, that over the default. All problems of a command
line are told at once, with exit status 2.
`;

/** Each process has its `main.ts`; those of `deploy/` and `test/` are not the product's. */
function processes(): string[] {
  return readdirSync(ROOT).filter((folder) => existsSync(join(ROOT, folder, 'main.ts')));
}

function sectionOf(folder: string): string {
  const help = execFileSync(process.execPath, ['--no-warnings', join(ROOT, folder, 'main.ts'), '--help'], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'] },
  });
  return `\n## ${folder}\n\n\`\`\`text\n${help}\`\`\`\n`;
}

test('docs/flags.md is what --help of each process prints', () => {
  const folders = processes();
  expect(folders).toEqual(expect.arrayContaining(['apiserver', 'device-plugin', 'node-worker', 'workflows']));
  const page = `${INTRODUCTION}${folders.map(sectionOf).join('')}`;
  if (UPDATES) writeFileSync(FILE, page);
  expect(readFileSync(FILE, 'utf8')).toBe(page);
});
