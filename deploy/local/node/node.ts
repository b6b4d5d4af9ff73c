import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../run.ts';
import { Server, type ServerSpec } from '../server.ts';
import type { StatePaths } from '../state.ts';
import type { ToolFolders } from '../tools.ts';
import { cniConfig, containerdConfig, kubeletConfig, kubeletFlags } from './config.ts';
import { CONTAINERD_SOCKET, type NodePaths, nodePaths } from './paths.ts';
import type { NodePlan } from './plan.ts';

/** A node of the running cluster. */
export interface ClusterNode extends NodePlan {
  readonly paths: NodePaths;
  readonly containerdSocket: typeof CONTAINERD_SOCKET;
  readonly containerd: Server;
  readonly kubelet: Server;
  /** Runs a command of the host inside of the node's mount namespace and answers its output. */
  run(command: string, args: readonly string[]): Promise<string>;
  /** Runs containerd's own client in the namespace of Kubernetes. */
  ctr(...args: readonly string[]): Promise<string>;
}

function containerdSpec(plan: NodePlan, paths: NodePaths, tools: ToolFolders): ServerSpec {
  // The shim and both runcs are found by PATH.
  const path = [tools.containerd, tools.runc, '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'].join(':');
  return {
    name: `${plan.name}-containerd`,
    command: join(tools.containerd, 'containerd'),
    args: ['--config', paths.containerdConfig],
    env: { PATH: path },
    mountNamespace: paths.namespace,
  };
}

function kubeletSpec(plan: NodePlan, paths: NodePaths, tools: ToolFolders): ServerSpec {
  return {
    name: `${plan.name}-kubelet`,
    command: join(tools.kubernetes, 'kubelet'),
    args: kubeletFlags(plan, paths),
    mountNamespace: paths.namespace,
  };
}

export function clusterNode(plan: NodePlan, state: StatePaths, tools: ToolFolders): ClusterNode {
  const paths = nodePaths(state, plan.name);
  const runInside = (command: string, args: readonly string[]): Promise<string> =>
    run('nsenter', [`--mount=${paths.namespace}`, '--', command, ...args]);
  return {
    ...plan,
    paths,
    containerdSocket: CONTAINERD_SOCKET,
    containerd: new Server(state, containerdSpec(plan, paths, tools)),
    kubelet: new Server(state, kubeletSpec(plan, paths, tools)),
    run: runInside,
    ctr: (...args) => runInside(join(tools.containerd, 'ctr'), ['-n', 'k8s.io', ...args]),
  };
}

/** Writes what containerd and kubelet of a node read. */
export function writeNodeConfig(plan: NodePlan, state: StatePaths, tools: ToolFolders): void {
  const paths = nodePaths(state, plan.name);
  for (const folder of [paths.cniConfig, paths.kubeletCertificates]) mkdirSync(folder, { recursive: true });
  writeFileSync(paths.containerdConfig, containerdConfig(plan, paths, tools));
  writeFileSync(paths.kubeletConfig, JSON.stringify(kubeletConfig(plan, state), null, 2));
  writeFileSync(join(paths.cniConfig, '10-pods.conflist'), JSON.stringify(cniConfig(plan, paths), null, 2));
}
