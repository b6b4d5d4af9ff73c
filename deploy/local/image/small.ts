import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../run.ts';
import { imageConfig, packLayer, writeArchive } from './archive.ts';

export const PAUSE_IMAGE = 'localhost/pause:1';
export const BUSYBOX_IMAGE = 'localhost/busybox:1';

const PAUSE_SOURCE = join(import.meta.dirname, 'pause.c');
const BUSYBOX = '/usr/bin/busybox';

/** Archives of the pause and busybox images, made once and kept in `cache`. */
export async function smallImages(cache: string): Promise<string[]> {
  return Promise.all([
    madeOnce(cache, 'pause', PAUSE_IMAGE, PAUSE_SOURCE, ['/pause'], async (root) => {
      await run('gcc', ['-static', '-O2', '-Wall', '-o', join(root, 'pause'), PAUSE_SOURCE]);
    }),
    madeOnce(cache, 'busybox', BUSYBOX_IMAGE, BUSYBOX, ['/bin/sh', '-c', 'sleep 1000000'], fillBusybox),
  ]);
}

/** `source` is the file whose content decides about the image. */
async function madeOnce(
  cache: string,
  name: string,
  tag: string,
  source: string,
  entrypoint: readonly string[],
  fill: (root: string) => Promise<void>,
): Promise<string> {
  const key = createHash('sha256').update(readFileSync(source)).update(fill.toString()).digest('hex').slice(0, 12);
  const archive = join(cache, `${name}-${key}.tar`);
  if (existsSync(archive)) return archive;
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, `${name}-`));
  try {
    const root = join(folder, 'root');
    mkdirSync(root);
    await fill(root);
    const layer = await packLayer(root, join(folder, 'layer.tar'));
    await writeArchive(archive, tag, [layer], imageConfig([layer], { entrypoint, path: '/bin:/usr/bin:/sbin' }));
    return archive;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function fillBusybox(root: string): Promise<void> {
  const bin = join(root, 'bin');
  for (const folder of [bin, join(root, 'tmp')]) mkdirSync(folder);
  copyFileSync(BUSYBOX, join(bin, 'busybox'));
  const applets = (await run(BUSYBOX, ['--list'])).trim().split('\n');
  for (const applet of applets.filter((name) => name !== 'busybox')) symlinkSync('busybox', join(bin, applet));
}
