import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { addVgpuLibrary, buildHal, buildLibcuda } from '../kernel/injected.ts';
import { addDriver, addDriverNodes, DRIVER_NODES, requireNoDriver } from '../node-worker/nvidia-tree.ts';
import { HOOK_PATH } from '../node-worker/vgpu.ts';
import { SHARED } from './npus.ts';

type Numbers = Readonly<Record<string, readonly [major: number, minor: number]>>;

const NVIDIA = 'run/nvidia/driver';

/** Gives a node, whose root is `files`, a driver of two GPUs and what Volcano's vGPU device plugin installs. */
export function addVgpuFiles(
  files: string,
  gpus: { readonly minors: readonly [number, number]; readonly major: number },
  nodes: Numbers = DRIVER_NODES,
): void {
  requireNoDriver();
  removeVgpuFiles(files);
  const driver = join(files, NVIDIA);
  addDriver(driver, gpus.minors, gpus.major);
  addDriverNodes(driver, nodes);
  buildLibcuda(join(driver, 'usr/lib64'));
  addVgpuLibrary(files);
}

export function removeVgpuFiles(files: string): void {
  rmSync(join(files, NVIDIA), { recursive: true, force: true });
  for (const folder of [HOOK_PATH, '/tmp/vgpulock']) empty(join(files, folder));
}

/** What a node has for two NPUs and a virtual one. */
export interface NpuTree {
  readonly npus: readonly [number, number];
  readonly virtual: number;
  /** Folder of the host with the nodes that all NPUs share. */
  readonly sharedFolder: string;
  /** By path in a container. The kernel has no driver for them. */
  readonly numbers: Numbers;
}

/**
 * All nodes of a cluster show the machine's /dev, so each has numbers of its own, and higher ones than those of a machine with NPUs.
 * @param index of the node
 */
export function npuTree(index: number, node: string): NpuTree {
  const first = 70 + 2 * index;
  // As the driver counts: from 100, 16 for each NPU.
  const virtual = 100 + 16 * first;
  const shared = Object.values(SHARED).map((name, minor) => [`/dev/${name}`, [423, minor]] as const);
  return {
    npus: [first, first + 1],
    virtual,
    sharedFolder: `/dev/e2e-${node}`,
    numbers: {
      [`/dev/davinci${first}`]: [420, first],
      [`/dev/davinci${first + 1}`]: [420, first + 1],
      [`/dev/davinci${virtual}`]: [421, virtual],
      ...Object.fromEntries(shared),
    },
  };
}

/** Makes the nodes, with other numbers where `numbers` says so, and the driver of the node whose root is `files`. */
export function addNpuFiles(files: string, tree: NpuTree, numbers: Numbers = {}): void {
  requireNoDriver(tree.numbers);
  removeNpuFiles(files, tree);
  const nodes = Object.entries({ ...tree.numbers, ...numbers });
  addDriverNodes('', Object.fromEntries(nodes.map(([path, number]) => [hostPathOf(path, tree), number])));
  buildHal(join(files, ASCEND, 'driver/lib64/driver'));
}

export function removeNpuFiles(files: string, tree: NpuTree): void {
  const paths = Object.keys(tree.numbers).map((path) => hostPathOf(path, tree));
  for (const path of [...paths, tree.sharedFolder]) rmSync(path, { recursive: true, force: true });
  empty(join(files, ASCEND));
}

const ASCEND = 'usr/local/Ascend';

function hostPathOf(path: string, { virtual, sharedFolder }: NpuTree): string {
  if (path === `/dev/davinci${virtual}`) return `/dev/vdavinci${virtual}`;
  const shared = Object.entries(SHARED).find(([, name]) => path === `/dev/${name}`);
  return shared === undefined ? path : `${sharedFolder}/${shared[0]}`;
}

/** The folder itself may be where a node has its own in place of the machine's. */
function empty(folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true });
}
