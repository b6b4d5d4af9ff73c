import type { NodeServer } from '../../../deploy/local/server.ts';
import { CLUSTER, NODES, nodeWorkerPid } from '../cluster.ts';
import { containerPid } from '../device-state.ts';
import { ask, listPath } from '../kube.ts';
import { nodeWorkerReplaced } from '../node-workers.ts';
import { signal } from '../signal.ts';
import type { Part } from './part.ts';

/** Of the pods of a Deployment of the product. */
async function pidsOf(name: 'device-mounter-apiserver' | 'device-mounter-control'): Promise<readonly number[]> {
  const namespace = 'device-mounter';
  const query = { labelSelector: `app.kubernetes.io/name=${name}`, fieldSelector: 'status.phase=Running' };
  const { items } = await ask<{ items: { metadata: { name: string } }[] }>('GET', listPath(namespace, 'pods', query));
  return Promise.all(items.map(({ metadata }) => containerPid(metadata.name, { namespace })));
}

export interface Processes {
  readonly apiservers: readonly number[];
  readonly controls: readonly number[];
  /** By node. */
  readonly nodeWorkers: ReadonlyMap<string, number>;
}

/** The processes of the product as they run now. */
export async function processesOfProduct(): Promise<Processes> {
  const [apiservers, controls, ...workers] = await Promise.all([
    pidsOf('device-mounter-apiserver'),
    pidsOf('device-mounter-control'),
    ...NODES.map(async (node) => [node.name, await nodeWorkerPid(node)] as const),
  ]);
  return { apiservers, controls, nodeWorkers: new Map(workers) };
}

const SERVERS: Readonly<Record<'Temporal' | 'kubelet' | 'containerd', readonly NodeServer[]>> = {
  Temporal: [CLUSTER.servers.temporal],
  kubelet: NODES.map(({ kubelet }) => kubelet),
  containerd: NODES.map(({ containerd }) => containerd),
};

/** Kills with SIGKILL; answers once all are gone. What the kubelet runs, it starts again by itself. */
export async function kill(part: Part, { apiservers, controls, nodeWorkers }: Processes): Promise<void> {
  if (part === 'Temporal' || part === 'kubelet' || part === 'containerd') {
    await Promise.all(SERVERS[part].map((server) => server.stop('SIGKILL')));
    return;
  }
  const pids = { apiserver: apiservers, 'control worker': controls, 'node worker': [...nodeWorkers.values()] }[part];
  for (const pid of pids) signal(pid, 'SIGKILL');
}

/** Starts what nobody else starts again. */
export function revive(part: Part): void {
  if (part === 'Temporal' || part === 'kubelet' || part === 'containerd') {
    for (const server of SERVERS[part]) server.start();
  }
}

/** Waits until what the kubelet starts again has taken the place of the node workers that were killed: their pods are called ready before that. */
export async function replaced(part: Part, { nodeWorkers }: Processes): Promise<void> {
  if (part !== 'node worker') return;
  await Promise.all(NODES.map((node) => nodeWorkerReplaced(node, nodeWorkers.get(node.name) ?? 0)));
}
