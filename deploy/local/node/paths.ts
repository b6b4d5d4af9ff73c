import { join } from 'node:path';
import type { StatePaths } from '../state.ts';

/** Folders of a node, as the host sees them. Inside of its mount namespace some lie on the names that production uses. */
export interface NodePaths {
  readonly root: string;
  readonly namespace: string;
  readonly containerdRoot: string;
  readonly containerdConfig: string;
  readonly kubeletConfig: string;
  readonly kubeconfig: string;
  readonly cniConfig: string;
  readonly kubeletCertificates: string;
  /** Host folder → name inside of the node. */
  readonly binds: Readonly<Record<string, string>>;
}

/** containerd's default address, inside of the node. */
export const CONTAINERD_SOCKET = '/run/containerd/containerd.sock';

export function nodePaths(paths: StatePaths, node: string): NodePaths {
  const root = join(paths.root, node);
  return {
    root,
    namespace: join(paths.namespaces, node),
    containerdRoot: join(root, 'containerd'),
    containerdConfig: join(root, 'containerd.toml'),
    kubeletConfig: join(root, 'kubelet.json'),
    kubeconfig: join(paths.config, `${node}.kubeconfig`),
    cniConfig: join(root, 'cni'),
    kubeletCertificates: join(root, 'kubelet-certificates'),
    binds: {
      [join(root, 'kubelet')]: '/var/lib/kubelet',
      [join(root, 'run-containerd')]: '/run/containerd',
      [join(root, 'cni-cache')]: '/var/lib/cni',
      [join(root, 'log-pods')]: '/var/log/pods',
      [join(root, 'log-containers')]: '/var/log/containers',
      [join(root, 'device-mounter')]: '/var/lib/device-mounter',
    },
  };
}
