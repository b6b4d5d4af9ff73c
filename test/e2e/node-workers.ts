import { nodeLease } from '../../contract/names.ts';
import type { ClusterNode } from '../../deploy/local/node/node.ts';
import { nodeWorkerPid } from './cluster.ts';
import { daemonPodReady, PRODUCT_NAMESPACE } from './daemon-sets.ts';
import { find } from './kube.ts';
import { signal } from './signal.ts';
import { until } from './until.ts';

/** When the node worker renewed its Lease last, in milliseconds since 1970; 0 when it has none. */
export async function leaseRenewedMs(node: string): Promise<number> {
  const path = `/apis/coordination.k8s.io/v1/namespaces/${PRODUCT_NAMESPACE}/leases/${nodeLease(node)}`;
  const lease = await find<{ spec: { renewTime: string } }>(path);
  return lease === undefined ? 0 : Date.parse(lease.spec.renewTime);
}

/** Waits until another process has taken the place of a killed node worker and is ready: for a while its pod is still called ready. */
export async function nodeWorkerReplaced(node: ClusterNode, killed: number): Promise<void> {
  await until(`a new node worker of ${node.name}`, async () => (await nodeWorkerPid(node)) !== killed);
  const since = Date.now();
  await until(`the new node worker of ${node.name} to serve`, async () => (await leaseRenewedMs(node.name)) > since);
  await daemonPodReady('device-mounter-node', node.name);
}

/** Kills the node worker, and waits until another one is ready. */
export async function restartNodeWorker(node: ClusterNode): Promise<void> {
  const pid = await nodeWorkerPid(node);
  signal(pid, 'SIGKILL');
  await nodeWorkerReplaced(node, pid);
}
