import { copyFileSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { ClusterNode } from '../../deploy/local/node/node.ts';
import { inPod } from './exec.ts';
import { loadRootImage } from './opener/image.ts';
import type { Targets } from './targets.ts';

/** Starts a pod from an image of `libraryImage`. Answers its name. */
export async function startLibraryPod(
  targets: Targets,
  node: ClusterNode,
  prepare: (root: string) => void,
): Promise<string> {
  const image = await libraryImage(node, prepare);
  return targets.start(node.name, { containers: [{ name: 'main', image, imagePullPolicy: 'Never' }] });
}

/**
 * Gives a node an image with the C library that `prepare` makes, a program that loads libraries, a shell, and nothing of any driver.
 * Answers its name.
 */
export const libraryImage = (node: ClusterNode, prepare: (root: string) => void): Promise<string> =>
  loadRootImage([node], ['/bin/sh', '-c', 'exec busybox sleep 100000'], async (root) => {
    for (const folder of ['bin', 'tmp']) mkdirSync(join(root, folder));
    prepare(root);
    copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
    for (const name of ['sh', 'mknod', 'rm', 'sleep']) symlinkSync('busybox', join(root, 'bin', name));
  });

export const stdoutOf = async (pod: string, line: string): Promise<string> => (await inPod(pod, line)).stdout.trim();

/** What the container has but for what is mounted in it. */
export const treeOf = (pod: string): Promise<string> =>
  stdoutOf(pod, 'busybox find / -xdev | busybox sort | busybox xargs busybox stat -c "%n %f %u %g %N"');
