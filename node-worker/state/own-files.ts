import { createHash } from 'node:crypto';
import { access } from 'node:fs/promises';
import { newRegion } from '../kernel/hami-region.ts';
import { type DurableFiles, namesIn } from './durable-files.ts';

const TEXTS = 'texts';
const REGIONS = 'regions';

/** Files that containers get and no host has. */
export class OwnFiles {
  readonly #files: DurableFiles;

  constructor(files: DurableFiles) {
    this.#files = files;
  }

  /** Named by the hash of what is in it. One that is there stays as it is: containers may have it, and know it by its inode. */
  async textFile(text: string): Promise<string> {
    const path = this.#files.pathOf(TEXTS, createHash('sha256').update(text).digest('hex'));
    await access(path).catch(() => this.#files.write(path, text, 0o444));
    return path;
  }

  /** For programs with vGPUs. One of `used` stays as it is, and any other is made anew: nobody counts in it any more. */
  async regionFile(containerId: string, used: readonly string[]): Promise<string> {
    const path = this.#files.pathOf(REGIONS, containerId);
    if (!used.includes(path)) await this.#files.write(path, newRegion(), 0o666);
    return path;
  }

  async keepOnly(names: ReadonlySet<string>): Promise<void> {
    for (const folder of [TEXTS, REGIONS]) {
      const unused = (await namesIn(this.#files.pathOf(folder))).filter((name) => !names.has(name));
      await Promise.all(unused.map((name) => this.#files.remove(this.#files.pathOf(folder, name))));
    }
  }
}
