import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { join } from 'node:path';
import { type Image, imageOfConfig } from './archive.ts';

/** How many images keep their layers: those of a few branches. Most of their layers are the same. */
export const KEPT_IMAGES = 6;
/** What was touched so recently may be in use: another start adds the layers of an image, or reads them. */
const IN_USE_MS = 3_600_000;
const DIGEST = /^[0-9a-f]{64}$/;

/** Layers of images as uncompressed files that are named by their digests, and a configuration `<image id>.json` of each image. */
export class LayerCache {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** The image with this id, or `undefined` when a part of it is missing. */
  imageOf(id: string, tag: string): Image | undefined {
    const config = this.#file(`${id}.json`);
    if (!existsSync(config)) return undefined;
    const image = imageOfConfig(readFileSync(config, 'utf8'), (digest) => this.#file(digest), tag);
    if (!image.layers.every(({ file }) => existsSync(file))) return undefined;
    const now = new Date();
    utimesSync(config, now, now);
    return image;
  }

  /** Takes what `push` writes into a folder of its own, a file for the configuration and each layer, and removes the oldest images. */
  async add(id: string, push: (folder: string) => Promise<unknown>): Promise<void> {
    mkdirSync(this.#folder, { recursive: true });
    // What is written as `dir:` first empties the folder: there the layers of another image would be lost.
    const pushed = mkdtempSync(this.#file('pushed-'));
    try {
      await push(pushed);
      for (const name of readdirSync(pushed).filter((name) => DIGEST.test(name)))
        renameSync(join(pushed, name), this.#file(name === id ? `${id}.json` : name));
    } finally {
      rmSync(pushed, { recursive: true, force: true });
    }
    this.#removeOld();
  }

  #removeOld(): void {
    const names = readdirSync(this.#folder);
    const configs = names.filter((name) => name.endsWith('.json') && DIGEST.test(name.slice(0, -'.json'.length)));
    const newest = configs.toSorted((a, b) => this.#touchedMs(b) - this.#touchedMs(a));
    const keptConfigs = newest.filter((name, index) => index < KEPT_IMAGES || this.#isInUse(name));
    const kept = new Set([...keptConfigs, ...keptConfigs.flatMap((name) => this.#layersOf(name))]);
    for (const name of names.filter((name) => !kept.has(name) && !this.#isInUse(name)))
      rmSync(this.#file(name), { recursive: true, force: true });
  }

  #isInUse(name: string): boolean {
    return Date.now() - this.#touchedMs(name) < IN_USE_MS;
  }

  #layersOf(config: string): readonly string[] {
    const { layers } = imageOfConfig(readFileSync(this.#file(config), 'utf8'), (digest) => digest, '');
    return layers.map(({ digest }) => digest);
  }

  #touchedMs(name: string): number {
    return statSync(this.#file(name), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  }

  readonly #file = (name: string): string => join(this.#folder, name);
}
