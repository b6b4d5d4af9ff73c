import { closeSync, globSync, openSync, readFileSync, readSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from '@jest/globals';

const ROOT = join(import.meta.dirname, '..');
/** e_machine of elf(5), EM_AARCH64. */
const AARCH64 = 183;

interface Lock {
  readonly packages: Readonly<Record<string, Package>>;
}

interface Package {
  readonly version: string;
  readonly dev?: boolean;
  readonly os?: readonly string[];
  readonly cpu?: readonly string[];
}

const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as Lock;
const production = Object.entries(packages).filter(([path, { dev }]) => path !== '' && dev !== true);
const forAmd64 = production.filter(([, { os, cpu }]) => os?.includes('linux') && cpu?.includes('x64'));

const machineOf = (file: string): number => {
  const fd = openSync(file, 'r');
  const header = Buffer.alloc(20);
  readSync(fd, header);
  closeSync(fd);
  return header.readUInt16LE(18);
};

test('each production dependency that is built for amd64 is locked for arm64, in the same version', () => {
  expect(forAmd64.length).toBeGreaterThan(0);
  const twins = forAmd64.map(([path, { version }]) => [path.replace('x64', 'arm64'), version]);
  expect(twins).toEqual(twins.map(([path = '']) => [path, packages[path]?.version]));
});

test('each production dependency that brings its builds along has one for arm64', () => {
  const single = new Set(forAmd64.map(([path]) => path));
  const natives = production
    .filter(([path]) => !single.has(path))
    .flatMap(([path]) => globSync(`${path}/**/*.{node,so}`, { cwd: ROOT, exclude: [`${path}/node_modules/**`] }));
  expect(natives).not.toHaveLength(0);
  // The Dockerfile keeps the folder of its machine: `$(uname -m)-unknown-linux-gnu`.
  const folders = natives.map((file) => dirname(file)).filter((folder) => folder.endsWith('x86_64-unknown-linux-gnu'));
  expect(folders).toHaveLength(new Set(natives.map((file) => file.replace(/\/releases\/.*/, ''))).size);
  for (const folder of folders)
    expect(machineOf(join(ROOT, folder.replace('x86_64', 'aarch64'), 'index.node'))).toBe(AARCH64);
});
