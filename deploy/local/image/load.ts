import type { ClusterNode } from '../node/node.ts';

/** Gives every node an image from its archive, unless it has one of that tag: tags of the product name their content. */
export async function loadImage(nodes: readonly ClusterNode[], tag: string, archive: string): Promise<void> {
  await Promise.all(
    nodes.map(async (node) => {
      const present = await node.ctr('images', 'list', '--quiet', `name==${tag}`);
      if (present.trim() !== tag) await node.ctr('images', 'import', archive);
    }),
  );
}
