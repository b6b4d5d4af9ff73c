import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ClusterNode } from '../node/node.ts';
import type { StatePaths } from '../state.ts';
import { type Image, writeArchive } from './archive.ts';

/** Gives each of `nodes` the image, unless it has it. Only layers that one of them lacks are read and sent. */
export async function loadImage(paths: StatePaths, nodes: readonly ClusterNode[], image: Image): Promise<void> {
  const presence = await Promise.all(nodes.map(async (node) => ({ node, has: await contentOf(node) })));
  const needing = presence.filter(({ has }) => !has.tags.has(image.tag));
  if (needing.length === 0) return;
  const known = image.layers.filter(({ digest }) => needing.every(({ has }) => has.digests.has(digest)));
  const archive = join(
    paths.images,
    `${encodeURIComponent(image.tag)}-${needing.map(({ node }) => node.name).join('-')}.tar`,
  );
  await writeArchive(archive, image, new Set(known.map(({ digest }) => digest)));
  await Promise.all(needing.map(({ node }) => node.ctr('images', 'import', archive)));
  rmSync(archive);
}

interface Content {
  readonly tags: ReadonlySet<string>;
  /** Without the prefix `sha256:`. */
  readonly digests: ReadonlySet<string>;
}

async function contentOf(node: ClusterNode): Promise<Content> {
  const [tags, digests] = await Promise.all([
    node.ctr('images', 'list', '--quiet'),
    node.ctr('content', 'list', '--quiet'),
  ]);
  return { tags: new Set(tags.split('\n')), digests: new Set(digests.replaceAll('sha256:', '').split('\n')) };
}
