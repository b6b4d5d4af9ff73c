import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { imageOf, packLayer } from '../../../deploy/local/image/archive.ts';
import { loadImage } from '../../../deploy/local/image/load.ts';
import type { ClusterNode } from '../../../deploy/local/node/node.ts';
import { run } from '../../../deploy/local/run.ts';
import { CLUSTER } from '../cluster.ts';
import { ask } from '../kube.ts';
import { podPath, startPod } from '../pods.ts';

const SOURCE = join(import.meta.dirname, 'opener.c');

/** One answer of the kernel to open(2) of the device, given first at that time. */
export interface OpenAnswer {
  /** Milliseconds since 1970. */
  readonly atMs: number;
  /** `opened`, or the name of the error. */
  readonly answer: string;
}

/** Gives nodes a distroless image: one static binary that opens a device for ever. Answers the image's name. */
export function loadOpenerImage(nodes: readonly ClusterNode[]): Promise<string> {
  return loadStaticImage(nodes, SOURCE, ['/opener', '/dev/fuse']);
}

/** Gives nodes an image whose only file is a static binary made of `source`, the first word of `entrypoint`. Answers its name. */
export function loadStaticImage(
  nodes: readonly ClusterNode[],
  source: string,
  entrypoint: readonly [string, ...string[]],
): Promise<string> {
  return loadRootImage(nodes, entrypoint, async (root) => {
    await run('gcc', ['-static', '-O2', '-Wall', '-o', join(root, entrypoint[0]), source]);
  });
}

/** Gives nodes an image with the files that `fill` makes below a root. Answers its name. */
export async function loadRootImage(
  nodes: readonly ClusterNode[],
  entrypoint: readonly [string, ...string[]],
  fill: (root: string) => Promise<void>,
): Promise<string> {
  const name = basename(entrypoint[0]);
  const folder = mkdtempSync(join(tmpdir(), 'device-mounter-image-'));
  try {
    const root = join(folder, 'root');
    mkdirSync(root);
    await fill(root);
    const layer = await packLayer(root, join(folder, 'layer.tar'));
    const image = imageOf(
      [layer],
      { entrypoint, path: '/bin' },
      (digest) => `localhost/${name}:${digest.slice(0, 12)}`,
    );
    await loadImage(CLUSTER.paths, nodes, image);
    return image.tag;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Starts a pod on `node` whose container `main` opens /dev/fuse for ever. */
export function startOpener(node: string, image: string): Promise<string> {
  return startPod(node, { containers: [{ name: 'main', image, imagePullPolicy: 'Never' }] });
}

/** What the kernel has answered to the container that runs now, each change once, the oldest first. */
export async function openAnswers(pod: string): Promise<OpenAnswer[]> {
  const lines = (await ask<string>('GET', `${podPath(pod)}/log`)).trim().split('\n');
  return lines.filter(Boolean).map((line) => {
    const [atMs = '', answer = ''] = line.split(' ');
    return { atMs: Number(atMs), answer };
  });
}
