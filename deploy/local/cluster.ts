import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { TEMPORAL_ADDRESS, TEMPORAL_UI } from './addresses.ts';
import { type ControlPlaneName, controlPlaneSpecs } from './control-plane.ts';
import { KubeApi } from './kube-api.ts';
import { type ClusterNode, clusterNode } from './node/node.ts';
import type { NodePlan } from './node/plan.ts';
import { Server } from './server.ts';
import { isDescribed, type StatePaths, statePaths } from './state.ts';
import { readSysctls, type Sysctls } from './sysctls.ts';
import { temporalSpec } from './temporal.ts';
import type { ToolFolders } from './tools.ts';

export type ServerName = ControlPlaneName | 'temporal';

/** A cluster that was started, by this process or an earlier one. */
export interface Cluster {
  readonly paths: StatePaths;
  readonly tools: ToolFolders;
  readonly kubeconfig: string;
  /** Path of the binary. */
  readonly kubectl: string;
  readonly temporalAddress: string;
  readonly uiAddress: string;
  readonly nodes: readonly ClusterNode[];
  /** To be stopped and started again by tests of failures; kubelets and containerds are with their node. */
  readonly servers: Readonly<Record<ServerName, Server>>;
  readonly api: KubeApi;
}

interface Description {
  readonly nodes: readonly NodePlan[];
  readonly tools: ToolFolders;
  /** What the machine had before; missing in those of older versions. */
  readonly sysctls?: Sysctls;
  /** The start came to its end. */
  readonly complete: boolean;
}

/** Records what is about to be started, before the first of it is, so that it can be taken down whatever happens. */
export function describeCluster(paths: StatePaths, nodes: readonly NodePlan[], tools: ToolFolders): void {
  writeDescription(paths, { nodes, tools, sysctls: readSysctls(), complete: false });
}

/** Records that the start came to its end. */
export function markComplete(paths: StatePaths): void {
  writeDescription(paths, { ...readDescription(paths), complete: true });
}

function writeDescription(paths: StatePaths, description: Description): void {
  mkdirSync(dirname(paths.description), { recursive: true });
  writeFileSync(`${paths.description}.part`, JSON.stringify(description, null, 2));
  renameSync(`${paths.description}.part`, paths.description);
}

/** The nodes of the cluster that was started under `paths`; none when none was. */
export function describedNodes(paths: StatePaths): readonly NodePlan[] {
  return isDescribed(paths) ? readDescription(paths).nodes : [];
}

/** Settings of the kernel as they were before the cluster that was started under `paths`. */
export function describedSysctls(paths: StatePaths): Sysctls {
  return isDescribed(paths) ? (readDescription(paths).sysctls ?? {}) : {};
}

function readDescription(paths: StatePaths): Description {
  return JSON.parse(readFileSync(paths.description, 'utf8')) as Description;
}

/** Opens the cluster that was started under the state folder `root`. Throws when none was. */
export function loadCluster(root: string): Cluster {
  const paths = statePaths({ DEVICE_MOUNTER_STATE: root });
  if (!isDescribed(paths))
    throw new Error(`Cannot open a cluster in "${paths.root}": none was started, see npm start --detach`);
  const { nodes, tools } = readDescription(paths);
  const specs = controlPlaneSpecs(paths, tools);
  const server = (name: ControlPlaneName): Server => new Server(paths, specs[name]);
  return {
    paths,
    tools,
    kubeconfig: paths.kubeconfig,
    kubectl: join(tools.kubernetes, 'kubectl'),
    temporalAddress: TEMPORAL_ADDRESS,
    uiAddress: TEMPORAL_UI,
    nodes: nodes.map((plan) => clusterNode(plan, paths, tools)),
    servers: {
      etcd: server('etcd'),
      'kube-apiserver': server('kube-apiserver'),
      'kube-controller-manager': server('kube-controller-manager'),
      'kube-scheduler': server('kube-scheduler'),
      'kube-proxy': server('kube-proxy'),
      temporal: new Server(paths, temporalSpec(paths, tools)),
    },
    api: new KubeApi(paths),
  };
}

/** Whether its start came to its end and every server of it still runs. */
export function isIntact(cluster: Cluster): boolean {
  if (!readDescription(cluster.paths).complete) return false;
  const servers = [
    ...Object.values(cluster.servers),
    ...cluster.nodes.flatMap(({ containerd, kubelet }) => [containerd, kubelet]),
  ];
  return servers.every((server) => server.pid() !== undefined);
}

/** The cluster under `paths`, when it has so many nodes and all of it runs. */
export function runningCluster(paths: StatePaths, nodes: number): Cluster | undefined {
  if (!isDescribed(paths)) return undefined;
  const cluster = loadCluster(paths.root);
  return isIntact(cluster) && cluster.nodes.length === nodes ? cluster : undefined;
}

/** Removes what a cluster knew, before another begins. Logs are kept until then. */
export function forgetCluster(paths: StatePaths, nodes: readonly NodePlan[]): void {
  const folders = [paths.etcd, paths.pki, paths.config, paths.log, paths.pids, dirname(paths.temporalDatabase)];
  for (const folder of [...folders, ...nodes.map(({ name }) => join(paths.root, name))])
    rmSync(folder, { recursive: true, force: true });
  rmSync(paths.kubeconfig, { force: true });
}
