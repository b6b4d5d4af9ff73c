import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { run } from '../run.ts';
import type { Image } from './archive.ts';
import { Buildah } from './buildah.ts';
import { KEPT_IMAGES } from './layers.ts';

jest.setTimeout(300_000);

const TAG = 'localhost/thing:latest';
const DOCKERFILE =
  'FROM scratch AS code\nCOPY code /code\nFROM scratch\nCOPY same /same\nCOPY --from=code /code /code\n';

let folder: string;
let cache: string;
let buildah: Buildah;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'buildah-'));
  cache = join(folder, 'cache');
  mkdirSync(join(folder, 'context'));
  writeFileSync(join(folder, 'Dockerfile'), DOCKERFILE);
  writeFileSync(join(folder, 'context', 'same'), 'same');
  buildah = new Buildah(cache);
});
afterAll(async () => {
  await buildah.run('rmi', '--all', '--force');
  rmSync(folder, { recursive: true });
});

function build(code: string): Promise<Image> {
  writeFileSync(join(folder, 'context', 'code'), code);
  return buildah.build(join(folder, 'context'), join(folder, 'Dockerfile'), TAG);
}

/** As if nobody had used what is there for long. */
function age(): void {
  for (const name of readdirSync(join(cache, 'layers'))) utimesSync(join(cache, 'layers', name), 0, 0);
}

const idsOf = async (...args: readonly string[]): Promise<readonly string[]> =>
  (await buildah.run('images', '--quiet', ...args)).split('\n').filter(Boolean);

test('an image keeps its layers when another is built, and is built again from what is there', async () => {
  const first = await build('first');
  const second = await build('second');
  expect(second.layers.at(-1)).not.toEqual(first.layers.at(-1));
  for (const { file } of first.layers) expect(await run('tar', ['-tf', file])).toMatch(/^(same|code)\n$/);
  const before = await idsOf('--all');
  expect(await build('first')).toEqual(first);
  expect(await idsOf('--all')).toEqual(before);
});

test('the newest images are kept, with their layers and steps; the others are removed', async () => {
  const shared = (await build('first')).layers[0]?.digest ?? '';
  for (let round = 0; round < KEPT_IMAGES + 2; round++) {
    await build(`code ${round}`);
    age();
  }
  const last = await build('last');
  const names = readdirSync(join(cache, 'layers'));
  expect(names.filter((name) => name.endsWith('.json'))).toHaveLength(KEPT_IMAGES);
  // A layer of its own each, and that which all have.
  expect(names).toHaveLength(2 * KEPT_IMAGES + 1);
  expect(names).toEqual(expect.arrayContaining([shared, ...last.layers.map(({ file }) => basename(file))]));
  expect(await idsOf('--filter', 'dangling=true')).toHaveLength(12);
  // Two stages for each that is kept, the last one, and the step that all have.
  expect(await idsOf('--all')).toHaveLength(14);
});

test('what somebody added or used a moment ago is kept', async () => {
  age();
  const used = await build('last');
  writeFileSync(join(cache, 'layers', 'f'.repeat(64)), 'a layer whose image is being added');
  for (let round = 0; round < KEPT_IMAGES; round++) await build(`more ${round}`);
  expect(readdirSync(join(cache, 'layers'))).toContain('f'.repeat(64));
  for (const { file } of used.layers) expect(existsSync(file)).toBe(true);
});
