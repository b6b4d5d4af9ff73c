import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { run } from '../run.ts';
import { imageOf, imageOfConfig, type Layer, layoutOf, packedLayer, packLayer, writeArchive } from './archive.ts';

const SETTINGS = { entrypoint: ['/pause'], path: '/bin' };
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'archive-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

async function layer(name: string, text: string, seconds: number): Promise<Layer> {
  const root = join(folder, name);
  mkdirSync(root);
  writeFileSync(join(root, 'file'), text);
  utimesSync(join(root, 'file'), seconds, seconds);
  return packLayer(root, join(folder, `${name}.tar`));
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

describe('packLayer()', () => {
  test('gives the same bytes for the same files, whenever they were written', async () => {
    const [first, second] = [await layer('a', 'same', 1), await layer('b', 'same', 2)];
    expect(first.digest).toBe(second.digest);
    expect((await layer('c', 'other', 1)).digest).not.toBe(first.digest);
  });

  test('is found again by packedLayer(), unless it was cut short', async () => {
    const packed = await layer('d', 'text', 1);
    expect(packedLayer(packed.file)).toEqual(packed);
    rmSync(`${packed.file}.sha256`);
    expect(packedLayer(packed.file)).toBeUndefined();
  });
});

describe('layoutOf()', () => {
  test('names every blob by its digest and size', async () => {
    const only = await layer('e', 'text', 1);
    const image = imageOf([only], SETTINGS, () => 'localhost/x:1');
    const files = layoutOf(image);
    for (const [name, text] of Object.entries(files).filter(([name]) => name.startsWith('blobs/')))
      expect(name).toBe(`blobs/sha256/${sha256(text)}`);
    const manifest = Object.values(files).find((text) => text.includes('config.v1+json')) ?? '';
    expect(JSON.parse(files['index.json'] ?? '')).toMatchObject({
      manifests: [
        {
          digest: `sha256:${sha256(manifest)}`,
          size: manifest.length,
          annotations: { 'io.containerd.image.name': 'localhost/x:1' },
        },
      ],
    });
    expect(JSON.parse(manifest)).toMatchObject({
      config: { digest: `sha256:${sha256(image.config)}`, size: image.config.length },
      layers: [{ digest: `sha256:${only.digest}`, size: readFileSync(only.file).length }],
    });
  });
});

test('imageOf() makes a tag of the content', async () => {
  const [one, two] = [await layer('j', '1', 1), await layer('k', '2', 1)];
  const [first, second] = [one, two].map((only) => imageOf([only], SETTINGS, (digest) => `x:${digest}`).tag);
  expect(first).not.toBe(second);
});

test('imageOfConfig() finds the layers that the configuration names', async () => {
  const layers = [await layer('f', '1', 1), await layer('g', '2', 1)];
  const { config } = imageOf(layers, SETTINGS, () => 'x:1');
  const fileOf = (digest: string): string => layers.find((one) => one.digest === digest)?.file ?? '';
  expect(imageOfConfig(config, fileOf, 'y:1')).toEqual({ tag: 'y:1', layers, config });
});

test('writeArchive() leaves out the layers that are known', async () => {
  const [known, fresh] = [await layer('h', 'known', 1), await layer('i', 'fresh', 1)];
  const file = join(folder, 'image.tar');
  await writeArchive(
    file,
    imageOf([known, fresh], SETTINGS, () => 'x:1'),
    new Set([known.digest]),
  );
  const names = await run('tar', ['-tf', file]);
  expect(names).toContain(`blobs/sha256/${fresh.digest}`);
  expect(names).not.toContain(known.digest);
});
