import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { codeOf } from '../error-code.ts';

/** Files that survive a crash of the node as they were before or after a change, never in between. */
export class DurableFiles {
  readonly #root: string;
  readonly #temporary: string;

  private constructor(root: string) {
    this.#root = root;
    this.#temporary = join(root, 'tmp');
  }

  /** Makes `root` where it is missing, and removes what a killed process left unfinished in it. */
  static async open(root: string): Promise<DurableFiles> {
    const files = new DurableFiles(root);
    await rm(files.#temporary, { recursive: true, force: true });
    await mkdir(files.#temporary, { recursive: true, mode: 0o700 });
    return files;
  }

  pathOf(...parts: readonly string[]): string {
    return join(this.#root, ...parts);
  }

  /** When it resolves, the file is on the disk. */
  async write(path: string, content: string | Uint8Array, mode = 0o600): Promise<void> {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const temporary = join(this.#temporary, randomUUID());
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(content);
      await file.chmod(mode);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    await syncDirectory(dirname(path));
  }

  /** Removing what is not there succeeds. */
  async remove(path: string): Promise<void> {
    await rm(path, { force: true });
    await syncDirectory(dirname(path));
  }
}

async function syncDirectory(path: string): Promise<void> {
  try {
    const directory = await open(path, 'r');
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  } catch (err) {
    // Nothing was ever written there.
    if (codeOf(err) !== 'ENOENT') throw err;
  }
}

/** What is in a directory; nothing where there is none. */
export async function namesIn(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory);
  } catch (err) {
    if (codeOf(err) === 'ENOENT') return [];
    throw err;
  }
}
