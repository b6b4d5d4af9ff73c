import { createHash } from 'node:crypto';
import { access } from 'node:fs/promises';
import { type DurableFiles, namesIn } from './durable-files.ts';

const FOLDER = 'texts';

/** Files that containers get and no host has, each named by the hash of what is in it. */
export class TextFiles {
  readonly #files: DurableFiles;

  constructor(files: DurableFiles) {
    this.#files = files;
  }

  /** One that is there stays as it is: containers may have it, and know it by its inode. */
  async pathOf(text: string): Promise<string> {
    const path = this.#files.pathOf(FOLDER, createHash('sha256').update(text).digest('hex'));
    await access(path).catch(() => this.#files.write(path, text, 0o444));
    return path;
  }

  async keepOnly(names: ReadonlySet<string>): Promise<void> {
    const unused = (await namesIn(this.#files.pathOf(FOLDER))).filter((name) => !names.has(name));
    await Promise.all(unused.map((name) => this.#files.remove(this.#files.pathOf(FOLDER, name))));
  }
}
