import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../run.ts';
import { type Image, imageOf, packedLayer, packLayer } from './archive.ts';

export const PAUSE_IMAGE = 'localhost/pause:1';
const BUSYBOX_IMAGE = 'localhost/busybox:1';

const PAUSE_SOURCE = join(import.meta.dirname, 'pause.c');
const BUSYBOX = '/usr/bin/busybox';

interface SmallImage {
  readonly name: string;
  readonly tag: string;
  /** The file whose content decides about the image. */
  readonly source: string;
  readonly entrypoint: readonly string[];
  readonly fill: (root: string) => Promise<void>;
}

const SMALL_IMAGES: readonly SmallImage[] = [
  { name: 'pause', tag: PAUSE_IMAGE, source: PAUSE_SOURCE, entrypoint: ['/pause'], fill: compilePause },
  {
    name: 'busybox',
    tag: BUSYBOX_IMAGE,
    source: BUSYBOX,
    entrypoint: ['/bin/sh', '-c', 'sleep 1000000'],
    fill: installBusybox,
  },
];

/** The pause and busybox images; their layers are made once and kept in `cache`. */
export function smallImages(cache: string): Promise<Image[]> {
  return Promise.all(SMALL_IMAGES.map((image) => smallImage(cache, image)));
}

async function smallImage(cache: string, { name, tag, source, entrypoint, fill }: SmallImage): Promise<Image> {
  const key = createHash('sha256').update(readFileSync(source)).update(fill.toString()).digest('hex').slice(0, 12);
  const file = join(cache, `${name}-${key}.tar`);
  const layer = packedLayer(file) ?? (await filledLayer(cache, file, fill));
  return imageOf([layer], { entrypoint, path: '/bin:/usr/bin:/sbin' }, () => tag);
}

async function filledLayer(cache: string, file: string, fill: SmallImage['fill']): ReturnType<typeof packLayer> {
  mkdirSync(cache, { recursive: true });
  const root = mkdtempSync(join(cache, 'root-'));
  try {
    await fill(root);
    return await packLayer(root, file);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

async function compilePause(root: string): Promise<void> {
  await run('gcc', ['-static', '-O2', '-Wall', '-o', join(root, 'pause'), PAUSE_SOURCE]);
}

async function installBusybox(root: string): Promise<void> {
  const bin = join(root, 'bin');
  for (const folder of [bin, join(root, 'tmp')]) mkdirSync(folder);
  copyFileSync(BUSYBOX, join(bin, 'busybox'));
  try {
    await run('chroot', [root, '/bin/busybox', 'true']);
  } catch {
    throw new Error(`Cannot use ${BUSYBOX}: it must be static: apt-get install busybox-static`);
  }
  const applets = (await run(BUSYBOX, ['--list'])).trim().split('\n');
  for (const applet of applets.filter((name) => name !== 'busybox')) symlinkSync('busybox', join(bin, applet));
}
