import { createHash } from 'node:crypto';
import {
  createReadStream,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
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
}

export interface Image {
  readonly tag: string;
  readonly layers: readonly Layer[];
  /** Image configuration of the OCI image specification. Its digest decides whether two images are the same. */
  readonly config: string;
}

/** Makes two archives of the same files equal byte for byte, whoever checked them out, when and with what umask. */
const REPRODUCIBLE = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--mode=u=rwX,go=rX'];

/** Packs everything in `folder`, or only what `more` tells tar, into `file`. */
export async function packLayer(folder: string, file: string, more: readonly string[] = ['.']): Promise<Layer> {
  mkdirSync(dirname(file), { recursive: true });
  await run('tar', [...REPRODUCIBLE, '-cf', `${file}.part`, '-C', folder, ...more]);
  renameSync(`${file}.part`, file);
  const digest = await digestOfFile(file);
  writeFileSync(`${file}.sha256`, digest);
  return { file, digest };
}

/** A layer that was packed before, or `undefined` when it was not, or not to the end. */
export function packedLayer(file: string): Layer | undefined {
  try {
    statSync(file);
    return { file, digest: readFileSync(`${file}.sha256`, 'utf8') };
  } catch {
    return undefined;
  }
}

async function digestOfFile(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');

/** An image of these layers, the lowest first. `tag` may be derived from the digest of its configuration. */
export function imageOf(layers: readonly Layer[], settings: ImageSettings, tag: (digest: string) => string): Image {
  const config = JSON.stringify({
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    config: { Entrypoint: settings.entrypoint, Env: [`PATH=${settings.path}`] },
    rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => `sha256:${digest}`) },
  });
  return { tag: tag(digestOf(config)), layers, config };
}

/** The image of a configuration that says of which layers it is. `fileOf` answers the uncompressed file of a layer. */
export function imageOfConfig(config: string, fileOf: (digest: string) => string, tag: string): Image {
  const { rootfs } = JSON.parse(config) as { readonly rootfs: { readonly diff_ids: readonly string[] } };
  const digests = rootfs.diff_ids.map((id) => id.replace('sha256:', ''));
  return { tag, layers: digests.map((digest) => ({ file: fileOf(digest), digest })), config };
}

const type = (name: string): string => `application/vnd.oci.image.${name}`;

/** The files of an OCI image layout, less the layers. */
export function layoutOf({ tag, layers, config }: Image): Readonly<Record<string, string>> {
  const described = (mediaType: string, digest: string, size: number): object => ({
    mediaType: type(mediaType),
    digest: `sha256:${digest}`,
    size,
  });
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: type('manifest.v1+json'),
    config: described('config.v1+json', digestOf(config), Buffer.byteLength(config)),
    layers: layers.map(({ file, digest }) => described('layer.v1.tar', digest, statSync(file).size)),
  });
  // containerd reads the image's name from this annotation.
  const annotations = { 'io.containerd.image.name': tag };
  const entry = { ...described('manifest.v1+json', digestOf(manifest), manifest.length), annotations };
  return {
    'oci-layout': '{"imageLayoutVersion":"1.0.0"}',
    'index.json': JSON.stringify({ schemaVersion: 2, manifests: [entry] }),
    [`blobs/sha256/${digestOf(config)}`]: config,
    [`blobs/sha256/${digestOf(manifest)}`]: manifest,
  };
}

/** Writes an OCI archive to be loaded by `ctr images import`, without the layers that are `known` where it is loaded. */
export async function writeArchive(file: string, image: Image, known: ReadonlySet<string>): Promise<void> {
  mkdirSync(dirname(file), { recursive: true });
  const folder = mkdtempSync(`${file}.`);
  try {
    mkdirSync(join(folder, 'blobs', 'sha256'), { recursive: true });
    for (const [name, text] of Object.entries(layoutOf(image))) writeFileSync(join(folder, name), text);
    for (const { file: source, digest } of image.layers)
      if (!known.has(digest)) symlinkSync(source, join(folder, 'blobs', 'sha256', digest));
    await run('tar', ['-chf', file, '-C', folder, 'oci-layout', 'index.json', 'blobs']);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
