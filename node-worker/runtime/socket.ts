import { lstatSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Where the kubelet's runtime listens by default. Those that only Kubernetes installs come first: Docker brings a containerd of its own,
 * which knows no pod.
 */
const CRI_SOCKETS: readonly string[] = [
  '/run/k3s/containerd/containerd.sock',
  '/run/k0s/containerd.sock',
  '/var/snap/microk8s/common/run/containerd.sock',
  '/run/crio/crio.sock',
  '/run/cri-dockerd.sock',
  '/run/containerd/containerd.sock',
];

/**
 * Path of the runtime's socket: the first of `setting` (paths of the host, separated by commas), or else of the well-known ones, that exists.
 * They are looked for below `hostRoot`, then as they are, for what is mounted by its own name. The last one when none exists: it may come later.
 */
export function criSocketOf(setting: string | undefined, hostRoot: string): string {
  const paths = setting === undefined ? CRI_SOCKETS : setting.split(',').map((path) => path.trim());
  const onHost = paths.map((path) => join(hostRoot, path));
  return [...onHost, ...paths].find(isSocket) ?? onHost.at(-1) ?? '';
}

function isSocket(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true;
}
