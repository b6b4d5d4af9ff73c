import { nodeLease } from '../../contract/names.ts';
import type { ClusterNode } from '../../deploy/local/node/node.ts';
import { nodeWorkerPid } from './cluster.ts';
import { daemonPodReady, PRODUCT_NAMESPACE } from './daemon-sets.ts';
import { find } from './kube.ts';
import { signal } from './signal.ts';
import { until } from './until.ts';

/** Its Lease: when the node worker renewed it last, and until when that counts, in milliseconds since 1970; 0 when it has none. */
async function leaseOf(node: string): Promise<{ readonly renewedMs: number; readonly endsMs: number }> {
  const path = `/apis/coordination.k8s.io/v1/namespaces/${PRODUCT_NAMESPACE}/leases/${nodeLease(node)}`;
  const lease = await find<{ spec: { renewTime: string; leaseDurationSeconds: number } }>(path);
  const renewedMs = lease === undefined ? 0 : Date.parse(lease.spec.renewTime);
  return { renewedMs, endsMs: renewedMs + (lease?.spec.leaseDurationSeconds ?? 0) * 1_000 };
}

export const leaseLapsed = async (node: string): Promise<boolean> => (await leaseOf(node)).endsMs < Date.now();

/** Waits until another process has taken the place of a killed node worker and is ready: for a while its pod is still called ready. */
export async function nodeWorkerReplaced(node: ClusterNode, killed: number): Promise<void> {
  await until(`a new node worker of ${node.name}`, async () => (await nodeWorkerPid(node)) !== killed);
  const since = Date.now();
  await until(`the new node worker of ${node.name} to serve`, async () => (await leaseOf(node.name)).renewedMs > since);
  await daemonPodReady('device-mounter-node', node.name);
}

/** Kills the node worker, and waits until another one is ready. */
export async function restartNodeWorker(node: ClusterNode): Promise<void> {
  const pid = await nodeWorkerPid(node);
  signal(pid, 'SIGKILL');
  await nodeWorkerReplaced(node, pid);
}
