import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import type { Image } from './local/image/archive.ts';
import { productImage } from './local/image/product.ts';
import { run } from './local/run.ts';
import { cacheFolder, REPOSITORY } from './local/state.ts';

// The first one on a machine installs the dependencies.
jest.setTimeout(600_000);

const CACHE = join(cacheFolder(process.env), 'images');
/** What .dockerignore lets in, and more that it has to keep out. */
const FOLDERS =
  'contract process workflows activities apiserver node-worker device-plugin proto deploy test docs'.split(' ');
const FILES = ['package.json', 'package-lock.json', '.npmrc', '.dockerignore'];

let checkout: string;
let before: Image;
beforeAll(async () => {
  checkout = mkdtempSync(join(tmpdir(), 'image-'));
  for (const name of [...FOLDERS, ...FILES]) cpSync(join(REPOSITORY, name), join(checkout, name), { recursive: true });
  before = await productImage(CACHE, checkout);
});
afterAll(() => rmSync(checkout, { recursive: true }));

const filesOf = async ({ layers }: Image): Promise<readonly string[]> =>
  (await Promise.all(layers.map(async ({ file }) => (await run('tar', ['-tf', file])).split('\n')))).flat();

test('the image has the code and its dependencies, and neither tests nor what only tests need', async () => {
  const files = await filesOf(before);
  expect(files).toEqual(
    expect.arrayContaining(['app/workflow-bundle.js', 'app/node-worker/main.js', 'app/sbom.cdx.json']),
  );
  const own = files.filter((name) => name.startsWith('app/') && !name.startsWith('app/node_modules/'));
  expect(own.filter((name) => /\.test\.|fixtures|^app\/(test|docs|deploy)/.test(name))).toEqual([]);
  for (const name of ['jest', 'typescript', '@biomejs']) expect(files).not.toContain(`app/node_modules/${name}/`);
});

test('the image runs as nobody and says its version', () => {
  const { version } = JSON.parse(readFileSync(join(REPOSITORY, 'package.json'), 'utf8')) as { version: string };
  expect(JSON.parse(before.config)).toMatchObject({
    config: { User: '65532:65532', Labels: { 'org.opencontainers.image.version': version } },
  });
});

test('the list of parts names every package that is there, with its licence', async () => {
  const [, dependencies] = before.layers.map(({ file }) => file).slice(-3);
  const text = await run('tar', ['-xOf', dependencies ?? '', 'app/sbom.cdx.json']);
  const { components } = JSON.parse(text) as { components: { name: string; licenses?: unknown[] }[] };
  const names = new Set(components.map(({ name }) => name));
  const { dependencies: direct } = JSON.parse(readFileSync(join(REPOSITORY, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  for (const name of Object.keys(direct)) expect(names).toContain(name);
  // Its LICENSE has it in the public domain; its package.json says nothing.
  expect(components.filter(({ licenses }) => licenses === undefined).map(({ name }) => name)).toEqual(['unionfs']);
});

test('a change of the code makes one small layer anew', async () => {
  writeFileSync(join(checkout, 'process/pause.ts'), '// changed\n', { flag: 'a' });
  const after = await productImage(CACHE, checkout);
  expect(after.layers.slice(0, -1)).toEqual(before.layers.slice(0, -1));
  expect(after.layers.at(-1)?.digest).not.toBe(before.layers.at(-1)?.digest);
  expect(after.tag).not.toBe(before.tag);
  expect(readFileSync(after.layers.at(-1)?.file ?? '').length).toBeLessThan(8 << 20);
});
