import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../run.ts';
import { Server } from '../server.ts';
import type { StatePaths } from '../state.ts';
import type { ToolFolders } from '../tools.ts';
import { until } from '../wait.ts';
import { type Image, writeArchive } from './archive.ts';

/** containerd folders of a root that are metadata; the others hold files that never change once they are there. */
const DATABASES = ['io.containerd.metadata.v1.bolt/meta.db', 'io.containerd.snapshotter.v1.overlayfs/metadata.db'];

/**
 * Answers a containerd root that has `images` and nothing else, made when missing: unpacking 12,000 files into every node at every
 * start took 15 s. Only the last one made is kept in `cache`.
 */
export async function ensureSeed(
  cache: string,
  paths: StatePaths,
  tools: ToolFolders,
  images: readonly Image[],
): Promise<string> {
  const key = createHash('sha256').update(tools.containerd);
  for (const { tag, config } of images) key.update(tag).update(config);
  const seeds = join(cache, 'seeds');
  const seed = join(seeds, key.digest('hex').slice(0, 12));
  if (existsSync(seed)) return seed;
  rmSync(seeds, { recursive: true, force: true });
  const unfinished = `${seed}.part`;
  mkdirSync(unfinished, { recursive: true });
  await fillSeed(unfinished, paths, tools, images);
  renameSync(unfinished, seed);
  return seed;
}

async function fillSeed(root: string, paths: StatePaths, tools: ToolFolders, images: readonly Image[]): Promise<void> {
  // Socket names may not be longer than 107 bytes, and a checkout may lie deep.
  const state = '/run/device-mounter-seed';
  rmSync(state, { recursive: true, force: true });
  mkdirSync(state);
  const socket = join(state, 'containerd.sock');
  const config = join(state, 'config.toml');
  const unused = ['io.containerd.cri.v1.runtime', 'io.containerd.cri.v1.images', 'io.containerd.grpc.v1.cri'];
  const disabled = [...unused, 'io.containerd.nri.v1.nri', 'io.containerd.internal.v1.opt'];
  writeFileSync(
    config,
    `version = 3\nroot = ${JSON.stringify(root)}\nstate = ${JSON.stringify(state)}
disabled_plugins = ${JSON.stringify(disabled)}\n[grpc]\n  address = ${JSON.stringify(socket)}\n`,
  );
  const server = new Server(paths, {
    name: 'seed-containerd',
    // What it mounts to unpack ends with it.
    command: 'unshare',
    args: ['--mount', join(tools.containerd, 'containerd'), '--config', config],
  });
  const ctr = (...args: string[]): Promise<string> =>
    run(join(tools.containerd, 'ctr'), ['--address', socket, '--namespace', 'k8s.io', ...args]);
  try {
    server.start();
    await until('containerd to answer', () => succeeds(ctr('version')), {
      timeoutMs: 30_000,
      hopeless: () => server.hopeless(),
    });
    for (const image of images) {
      const archive = join(state, 'image.tar');
      await writeArchive(archive, image, new Set());
      await ctr('images', 'import', archive);
    }
  } finally {
    await server.stop('SIGTERM');
    rmSync(state, { recursive: true, force: true });
  }
}

async function succeeds(attempt: Promise<unknown>): Promise<boolean> {
  try {
    await attempt;
    return true;
  } catch {
    return false;
  }
}

/** Makes `root` a containerd root with the images of `seed`: databases are copied, what never changes is linked where it can be. */
export async function plantSeed(seed: string, root: string): Promise<void> {
  try {
    await run('cp', ['-al', seed, root]);
  } catch {
    // Another file system.
    rmSync(root, { recursive: true, force: true });
    await run('cp', ['-a', seed, root]);
    return;
  }
  for (const name of DATABASES) {
    rmSync(join(root, name));
    await run('cp', ['-a', join(seed, name), join(root, name)]);
  }
}
