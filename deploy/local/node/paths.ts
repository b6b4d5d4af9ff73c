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

/** Folder of a node → its name inside. The machine has to have folders of these names. */
const BINDS = {
  kubelet: '/var/lib/kubelet',
  'run-containerd': '/run/containerd',
  'cni-cache': '/var/lib/cni',
  'log-pods': '/var/log/pods',
  'log-containers': '/var/log/containers',
  'device-mounter': '/var/lib/device-mounter',
  // CDI specs, and what a driver's container shows: volumes of the node worker, which the kubelet would make on the machine.
  'etc-cdi': '/etc/cdi',
  'run-cdi': '/run/cdi',
  'run-nvidia': '/run/nvidia',
  // What vendors install on a node: Volcano's vGPU device plugin with the folder of its lock, and the driver of Ascend NPUs.
  'usr-local-vgpu': '/usr/local/vgpu',
  'tmp-vgpulock': '/tmp/vgpulock',
  'usr-local-ascend': '/usr/local/Ascend',
};

export const MOUNT_POINTS: readonly string[] = Object.values(BINDS);

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
    binds: Object.fromEntries(Object.entries(BINDS).map(([folder, name]) => [join(root, folder), name])),
  };
}
