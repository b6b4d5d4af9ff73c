import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../run.ts';
import { type NodeServer, Server } from '../server.ts';
import type { StatePaths } from '../state.ts';
import type { ToolFolders } from '../tools.ts';
import { cniConfig, containerdConfig, kubeletConfig, kubeletFlags } from './config.ts';
import { createNamespace } from './namespace.ts';
import { CONTAINERD_SOCKET, type NodePaths, nodePaths } from './paths.ts';
import type { NodePlan } from './plan.ts';
import type { UnitSpec } from './systemd-files.ts';
import { NestedSystemd, UnitServer } from './systemd-node.ts';

/** A node of the running cluster. */
export interface ClusterNode extends NodePlan {
  readonly paths: NodePaths;
  readonly containerdSocket: typeof CONTAINERD_SOCKET;
  readonly containerd: NodeServer;
  readonly kubelet: NodeServer;
  /** Makes the namespaces that everything of the node runs in. */
  open(signal: AbortSignal): Promise<void>;
  /** Runs a command of the host inside of the node's namespaces and answers its output. */
  run(command: string, args: readonly string[]): Promise<string>;
  /** Runs containerd's own client in the namespace of Kubernetes. */
  ctr(...args: readonly string[]): Promise<string>;
}

const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

function programs(plan: NodePlan, state: StatePaths, tools: ToolFolders): readonly [UnitSpec, UnitSpec] {
  const paths = nodePaths(state, plan.name);
  const logFile = (name: string): string => join(state.log, `${plan.name}-${name}.log`);
  // The shim and both runcs are found by PATH.
  const path = [tools.containerd, tools.runc, SYSTEM_PATH].join(':');
  return [
    {
      name: 'containerd',
      command: join(tools.containerd, 'containerd'),
      args: ['--config', paths.containerdConfig],
      path,
      logFile: logFile('containerd'),
    },
    {
      name: 'kubelet',
      command: join(tools.kubernetes, 'kubelet'),
      args: kubeletFlags(plan, paths),
      path: SYSTEM_PATH,
      logFile: logFile('kubelet'),
    },
  ];
}

type Inside = Pick<ClusterNode, 'containerd' | 'kubelet' | 'open'> & { readonly enter: () => readonly string[] };

/** containerd and kubelet as processes in a mount namespace. */
function plainNode(plan: NodePlan, state: StatePaths, tools: ToolFolders): Inside {
  const paths = nodePaths(state, plan.name);
  const server = ({ name, command, args, path }: UnitSpec): Server =>
    new Server(state, {
      name: `${plan.name}-${name}`,
      command,
      args,
      env: { PATH: path },
      mountNamespace: paths.namespace,
    });
  const [containerd, kubelet] = programs(plan, state, tools);
  const enter = (): readonly string[] => [`--mount=${paths.namespace}`, '--'];
  return {
    containerd: server(containerd),
    kubelet: server(kubelet),
    open: () => createNamespace(plan, paths),
    enter,
  };
}

/** containerd and kubelet as units of a systemd. */
function systemdNode(plan: NodePlan, state: StatePaths, tools: ToolFolders): Inside {
  const systemd = new NestedSystemd(plan, nodePaths(state, plan.name), state);
  const units = programs(plan, state, tools);
  const [containerd, kubelet] = [
    new UnitServer(systemd, plan.name, units[0]),
    new UnitServer(systemd, plan.name, units[1]),
  ];
  return { containerd, kubelet, open: (signal) => systemd.start(tools, units, signal), enter: () => systemd.enter() };
}

export function clusterNode(plan: NodePlan, state: StatePaths, tools: ToolFolders): ClusterNode {
  const { enter, ...inside } = (plan.systemd ? systemdNode : plainNode)(plan, state, tools);
  const runInside = (command: string, args: readonly string[]): Promise<string> =>
    run('nsenter', [...enter(), command, ...args]);
  return {
    ...plan,
    ...inside,
    paths: nodePaths(state, plan.name),
    containerdSocket: CONTAINERD_SOCKET,
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
