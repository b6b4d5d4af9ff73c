import { mkdirSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { PORTS, TEMPORAL_HOST, TEMPORAL_PORTS } from './addresses.ts';
import { cgroupHost, preparePodsCgroup } from './cgroup.ts';
import { type Cluster, describeCluster, forgetCluster, loadCluster, markComplete } from './cluster.ts';
import { type ProxyMode, writeControlPlaneConfig } from './control-plane.ts';
import { firewallObstacles } from './firewall.ts';
import type { Image } from './image/archive.ts';
import { ensureSeed, plantSeed } from './image/seed.ts';
import { hasCondition } from './kube-api.ts';
import { removeEarlier } from './leftovers.ts';
import { addAddresses, claimMachine, releaseMachine } from './machine.ts';
import { createNetwork, TEMPORAL_NETWORK } from './networks.ts';
import { makeMountPoints, prepareNamespaceFolder } from './node/namespace.ts';
import { type ClusterNode, writeNodeConfig } from './node/node.ts';
import { type NodePlan, planNodes } from './node/plan.ts';
import { obstacles } from './obstacles.ts';
import { createPki } from './pki/pki.ts';
import type { Progress } from './progress.ts';
import type { NodeServer } from './server.ts';
import type { StatePaths } from './state.ts';
import { allowForwarding } from './sysctls.ts';
import { setTemporalRetention } from './temporal.ts';
import type { ToolFolders } from './tools.ts';
import { sideBySide, until } from './wait.ts';

export interface StartOptions {
  readonly paths: StatePaths;
  readonly tools: ToolFolders;
  readonly nodes: 1 | 2 | 3;
  /** Folder where what images need is kept. */
  readonly imageCache: string;
  /** What every node has from the start. */
  readonly images: Promise<readonly Image[]>;
  /** Of kube-proxy, where it is not the usual one. */
  readonly proxyMode?: ProxyMode;
  readonly progress: Progress;
  /** Ends the start at its next step; what was started stays for `removeCluster`. */
  readonly signal?: AbortSignal;
}

/** Longer than any of these took on 2 busy cores (apiserver 15 s), shorter than a reader's patience. */
const READY_TIMEOUT_MS = 90_000;

/** Starts Kubernetes and Temporal from nothing; what an earlier run left is removed first. Throws saying what did not become ready. */
export async function startCluster(options: StartOptions): Promise<Cluster> {
  const { paths, progress } = options;
  await removeEarlier(paths, progress);
  const plans = planNodes(options.nodes, cgroupHost());
  claimMachine(paths);
  const problems = await obstacles(plans);
  if (problems.length > 0) releaseMachine(paths);
  refuseAny(problems);
  forgetCluster(paths, plans);
  describeCluster(paths, plans, options.tools);
  await progress.step('make keys, certificates, addresses', () => prepare(options, plans));
  const cluster = loadCluster(paths.root);
  const seed = options.images.then((images) => ensureSeed(options.imageCache, paths, options.tools, images));
  await sideBySide(options.signal, [
    (signal) => progress.step('start etcd and kube-apiserver', () => startApiserver(cluster, signal)),
    (signal) => progress.step('start Temporal', () => startTemporal(cluster, signal)),
    ...cluster.nodes.map((node) => async (signal: AbortSignal) => {
      await plantSeed(await seed, node.paths.containerdRoot);
      await progress.step(`start containerd on ${node.name}`, () => startContainerd(node, signal));
    }),
  ]);
  await progress.step('nodes Ready', async () => {
    for (const name of ['kube-controller-manager', 'kube-scheduler', 'kube-proxy'] as const)
      cluster.servers[name].start();
    await sideBySide(
      options.signal,
      cluster.nodes.map((node) => (signal) => startKubelet(cluster, node, signal)),
    );
  });
  markComplete(paths);
  return cluster;
}

async function prepare({ paths, tools, proxyMode }: StartOptions, plans: readonly NodePlan[]): Promise<void> {
  await createPki(
    paths,
    plans.map(({ name }) => name),
  );
  writeControlPlaneConfig(paths, proxyMode);
  mkdirSync(dirname(paths.temporalDatabase), { recursive: true });
  for (const plan of plans) {
    writeNodeConfig(plan, paths, tools);
    preparePodsCgroup(plan);
  }
  await addAddresses(plans);
  allowForwarding();
  await createNetwork(TEMPORAL_NETWORK, TEMPORAL_HOST);
  refuseAny(await firewallObstacles());
  makeMountPoints(paths);
  await prepareNamespaceFolder(paths.namespaces);
}

function refuseAny(problems: readonly string[]): void {
  if (problems.length > 0) throw new Error(`Cannot start:\n${problems.map((problem) => `  ${problem}`).join('\n')}`);
}

async function startApiserver({ servers, api }: Cluster, signal: AbortSignal): Promise<void> {
  servers.etcd.start();
  await ready(servers.etcd, () => listens('127.0.0.1', PORTS.etcdClient), signal);
  servers['kube-apiserver'].start();
  await ready(servers['kube-apiserver'], () => api.isReady(), signal);
}

async function startTemporal({ servers, tools }: Cluster, signal: AbortSignal): Promise<void> {
  servers.temporal.start();
  await ready(servers.temporal, () => listens(TEMPORAL_HOST, TEMPORAL_PORTS.frontend), signal);
  await ready(servers.temporal, () => setTemporalRetention(tools), signal);
}

async function startContainerd(node: ClusterNode, signal: AbortSignal): Promise<void> {
  await node.open(signal);
  node.containerd.start();
  const answers = (): Promise<boolean> =>
    node.ctr('version').then(
      () => true,
      () => false,
    );
  await ready(node.containerd, answers, signal);
}

async function startKubelet({ api }: Cluster, node: ClusterNode, signal: AbortSignal): Promise<void> {
  node.kubelet.start();
  const isReady = async (): Promise<boolean> => isSchedulable(await api.find(`/api/v1/nodes/${node.name}`));
  await ready(node.kubelet, isReady, signal);
}

interface NodeObject {
  readonly spec?: { readonly taints?: readonly unknown[] };
}

/** Ready, and rid of the taint that keeps pods away until the controllers have seen that. */
function isSchedulable(node: unknown): boolean {
  return hasCondition(node, 'Ready') && (node as NodeObject).spec?.taints === undefined;
}

async function ready(server: NodeServer, condition: () => Promise<boolean>, signal: AbortSignal): Promise<void> {
  const hopeless = (): string | undefined => server.hopeless();
  await until(`${server.name} to be ready`, condition, { timeoutMs: READY_TIMEOUT_MS, everyMs: 40, signal, hopeless });
}

function listens(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
