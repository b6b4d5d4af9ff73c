import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../run.ts';
import type { Image } from './archive.ts';
import { LayerCache } from './layers.ts';

/** A build leaves two: the image, once a newer one has its tag, and the stage that the code comes from. */
const KEPT_UNTAGGED = 12;

/** A store of images and of the steps that made them. Nothing of it is in the machine's own store. */
export class Buildah {
  readonly #cache: string;
  readonly #layers: LayerCache;

  /** `cache` is the folder that keeps it, on a file system that can be below an overlay. */
  constructor(cache: string) {
    this.#cache = cache;
    this.#layers = new LayerCache(join(cache, 'layers'));
    mkdirSync(cache, { recursive: true });
  }

  /** Runs buildah. Answers what it prints. @throws with what it complains of */
  async run(...args: readonly string[]): Promise<string> {
    // What is below /run is gone after a reboot, as it has to be.
    const runRoot = `/run/device-mounter-buildah-${createHash('sha256').update(this.#cache).digest('hex').slice(0, 8)}`;
    const store = ['--root', join(this.#cache, 'buildah'), '--runroot', runRoot, '--storage-driver', 'overlay'];
    return await run('buildah', [...store, ...args], { env: { ...process.env, BUILDAH_ISOLATION: 'chroot' } });
  }

  async has(tag: string): Promise<boolean> {
    return (await this.run('images', '--quiet', '--filter', `reference=${tag}`)) !== '';
  }

  /** Builds a Dockerfile; steps that were built before are taken over. `args` are more arguments of `buildah build`. */
  async build(context: string, dockerfile: string, tag: string, ...args: readonly string[]): Promise<Image> {
    const files = mkdtempSync(join(this.#cache, 'npm-'));
    try {
      const npm = await npmVolumes(files);
      const all = ['--quiet', '--layers', '--pull-never', ...npm, '--tag', tag, '--file', dockerfile, ...args];
      return await this.#exported((await this.run('build', ...all, context)).trim(), tag);
    } finally {
      rmSync(files, { recursive: true });
    }
  }

  /** An image of the store, its layers as uncompressed files named by their digests. */
  async #exported(id: string, tag: string): Promise<Image> {
    const known = this.#layers.imageOf(id, tag);
    if (known !== undefined) return known;
    await this.#layers.add(id, (folder) => this.run('push', '--quiet', '--disable-compression', id, `dir:${folder}`));
    // Whoever else builds may have removed the same, and no start may fail for that.
    await this.#removeOld().catch(() => undefined);
    const added = this.#layers.imageOf(id, tag);
    if (added === undefined) throw new Error(`Cannot read the layers of image ${id}`);
    return added;
  }

  /** Keeps the newest images without a tag: a build takes over their steps. Those that only older ones are made of are removed with them. */
  async #removeOld(): Promise<void> {
    const untagged = await this.run('images', '--json', '--filter', 'dangling=true');
    const images = JSON.parse(untagged) as readonly { readonly id: string; readonly created: number }[];
    const old = images.toSorted((a, b) => b.created - a.created).slice(KEPT_UNTAGGED);
    if (old.length > 0) await this.run('rmi', ...old.map(({ id }) => id));
  }
}

const AUTHORITIES = '/etc/ssl/certs/ca-certificates.crt';

/** Lets npm in the build reach the registry that this machine uses, and believe whom it believes. */
async function npmVolumes(folder: string): Promise<readonly string[]> {
  const registry = (await run('npm', ['config', 'get', 'registry'])).trim();
  const config = join(folder, 'npmrc');
  writeFileSync(config, `registry=${registry}\ncafile=${AUTHORITIES}\n`);
  const volumes = [`${config}:/usr/local/etc/npmrc:ro`];
  if (existsSync(AUTHORITIES)) volumes.push(`${AUTHORITIES}:${AUTHORITIES}:ro`);
  return volumes.flatMap((volume) => ['--volume', volume]);
}
