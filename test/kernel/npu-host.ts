import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Allocation } from '../../node-worker/kubelet/checkpoint.ts';
import { addDriverNodes } from '../node-worker/nvidia-tree.ts';
import { buildHal } from './injected.ts';
import { WORK } from './places.ts';

/** As a node has them. No driver has these majors: where it is allowed, an open ends in ENXIO. */
export const NODES = {
  davinci0: [420, 0],
  davinci1: [420, 1],
  vdavinci100: [421, 100],
  davinci_manager: [422, 0],
  davinci_manager_docker: [423, 0],
  devmm_svm: [424, 0],
  hisi_hdc: [425, 0],
  svm0: [426, 0],
} as const;
export type Name = keyof typeof NODES;
export const SHARED = ['davinci_manager', 'devmm_svm', 'hisi_hdc'] as const;
export const DRIVER = '/usr/local/Ascend/driver/lib64';

/** Makes a host with nodes and files of the driver. Answers its root. */
export function makeNpuHost(): string {
  const root = mkdtempSync(join(WORK, 'host-'));
  const nodes = Object.entries(NODES).map(([name, numbers]) => [`/dev/${name}`, numbers]);
  addDriverNodes(root, Object.fromEntries(nodes));
  buildHal(join(root, DRIVER, 'driver'));
  for (const path of ['usr/local/Ascend/driver/include', 'usr/local/dcmi', 'usr/local/bin'])
    mkdirSync(join(root, path), { recursive: true });
  writeFileSync(join(root, 'usr/local/bin/npu-smi'), '#!/bin/sh\necho smi\n', { mode: 0o755 });
  return root;
}

/** The plugin's answer with device nodes, host name and container name where they differ. */
export const specs = (...names: readonly (Name | readonly [Name, string])[]): Partial<Allocation> => ({
  devices: names.map((name) => {
    const [from, to] = typeof name === 'string' ? [name, name] : name;
    return { hostPath: `/dev/${from}`, containerPath: `/dev/${to}`, permissions: 'rw' };
  }),
});

/** Of a container that was started with it. */
export const ownDevice = (name: Name, path = name as string) =>
  ({ path: `/dev/${path}`, type: 'c', major: NODES[name][0], minor: NODES[name][1], access: 'rw' }) as const;
