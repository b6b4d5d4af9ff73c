import type { ClusterNode } from '../../deploy/local/node/node.ts';
import { NODES } from './cluster.ts';
import { getJson, kubectlOk } from './kubectl.ts';
import { FUSE, KMSG } from './pods.ts';
import { until } from './until.ts';

/** The node at `index`, counted from 0 and again from the first after the last: rows of tables take turns. */
export function nodeAt(index: number): ClusterNode {
  const node = NODES[index % NODES.length];
  if (node === undefined) throw new Error('Cannot test without a node');
  return node;
}

interface Node {
  readonly spec: { readonly unschedulable?: boolean; readonly taints?: readonly unknown[] };
  readonly status: {
    readonly allocatable: Readonly<Record<string, string>>;
    readonly conditions: readonly { readonly type: string; readonly status: string }[];
  };
}

/** Starts what was stopped of a node and of the product, and waits until mounts can be made on it again. */
export async function bringBack(node: ClusterNode): Promise<void> {
  node.containerd.start();
  // A kubelet that finds no runtime ends at once.
  await until(`containerd of ${node.name} to answer`, () => node.ctr('version').then(succeeded, failed));
  node.kubelet.start();
  await until(
    `${node.name} to offer its devices`,
    async () => offersDevices(await getJson<Node>(['node', node.name])),
    120_000,
  );
  await productReady();
}

const succeeded = (): boolean => true;
const failed = (): boolean => false;

function offersDevices(node: Node | undefined): boolean {
  if (node === undefined) return false;
  const ready = node.status.conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
  const { allocatable } = node.status;
  return ready && node.spec.taints === undefined && Number(allocatable[FUSE]) === 1 && Number(allocatable[KMSG]) > 1;
}

/** Waits until every process of the product is ready, on every node. */
export async function productReady(): Promise<void> {
  const namespace = '--namespace=device-mounter';
  await Promise.all(
    [
      'deployment/device-mounter-apiserver',
      'deployment/device-mounter-control',
      'daemonset/device-mounter-node',
      'daemonset/hostdev-device-plugin',
    ].map((what) => kubectlOk(['rollout', 'status', what, namespace, '--timeout=120s'])),
  );
  await kubectlOk(['wait', 'apiservice/v1alpha1.device-mounter.io', '--for=condition=Available', '--timeout=60s']);
}
