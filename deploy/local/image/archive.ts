import { createHash } from 'node:crypto';
import { createReadStream, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { run } from '../run.ts';

/** A tar file that is one layer of images. `digest` is the lower-case sha256 of the file, without prefix. */
export interface Layer {
  readonly file: string;
  readonly digest: string;
}

/** What an image is besides its layers. */
export interface ImageSettings {
  readonly entrypoint: readonly string[];
  readonly path: string;
  readonly workingDir?: string;
}

/** Makes two archives of the same files equal byte for byte, whoever checked them out, when and with what umask. */
const REPRODUCIBLE = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--mode=u=rwX,go=rX'];

/** Packs everything in `folder`, or only what `more` tells tar, into `file`. */
export async function packLayer(folder: string, file: string, more: readonly string[] = ['.']): Promise<Layer> {
  mkdirSync(dirname(file), { recursive: true });
  await run('tar', [...REPRODUCIBLE, '-cf', `${file}.part`, '-C', folder, ...more]);
  renameSync(`${file}.part`, file);
  return layerOf(file);
}

/** A layer that was packed before. */
export async function layerOf(file: string): Promise<Layer> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return { file, digest: hash.digest('hex') };
}

/** The image's configuration (OCI image specification), as text: its digest decides whether two images are the same. */
export function imageConfig(layers: readonly Layer[], settings: ImageSettings): string {
  return JSON.stringify({
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    config: {
      Entrypoint: settings.entrypoint,
      Env: [`PATH=${settings.path}`],
      ...(settings.workingDir === undefined ? {} : { WorkingDir: settings.workingDir }),
    },
    rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => `sha256:${digest}`) },
  });
}

/** Writes what `docker save` would write, to be loaded by `ctr images import`. */
export async function writeArchive(file: string, tag: string, layers: readonly Layer[], config: string): Promise<void> {
  mkdirSync(dirname(file), { recursive: true });
  const folder = mkdtempSync(`${file}.`);
  try {
    for (const { file: source, digest } of layers) symlinkSync(source, join(folder, `${digest}.tar`));
    const names = layers.map(({ digest }) => `${digest}.tar`);
    writeFileSync(join(folder, 'config.json'), config);
    writeFileSync(
      join(folder, 'manifest.json'),
      JSON.stringify([{ Config: 'config.json', RepoTags: [tag], Layers: names }]),
    );
    await run('tar', [...REPRODUCIBLE, '-chf', `${file}.part`, '-C', folder, 'manifest.json', 'config.json', ...names]);
    renameSync(`${file}.part`, file);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
