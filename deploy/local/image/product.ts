import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { REPOSITORY } from '../state.ts';
import type { Image } from './archive.ts';
import { ensureBase } from './base.ts';
import { Buildah } from './buildah.ts';

const NAME = 'localhost/device-mounter';

/** What the product's image stands on, as an image of its own: it changes with the dependencies only. */
export async function foundationImage(cache: string): Promise<Image> {
  return build(cache, REPOSITORY, `${NAME}-foundation:1`, '--target=dependencies');
}

/** The image of deploy/Dockerfile with the code below `context` as it is now. Its tag names its content. */
export async function productImage(cache: string, context = REPOSITORY): Promise<Image> {
  const { version } = JSON.parse(readFileSync(join(context, 'package.json'), 'utf8')) as { version: string };
  const image = await build(cache, context, `${NAME}:latest`, `--build-arg=VERSION=${version}`);
  const digest = createHash('sha256').update(image.config).digest('hex');
  return { ...image, tag: `${NAME}:${digest.slice(0, 12)}` };
}

async function build(cache: string, context: string, tag: string, ...args: readonly string[]): Promise<Image> {
  const buildah = new Buildah(cache);
  const base = await ensureBase(buildah, cache);
  return await buildah.build(context, join(context, 'deploy', 'Dockerfile'), tag, `--build-arg=BASE=${base}`, ...args);
}
