import { hasCondition } from '../../deploy/local/kube-api.ts';
import type { ClusterNode } from '../../deploy/local/node/node.ts';
import { DAEMON_SETS } from '../../deploy/local/placement.ts';
import { NODES } from './cluster.ts';
import { place, rolledOut } from './daemon-sets.ts';
import { find } from './kube.ts';
import { FUSE, KMSG } from './pods.ts';
import { until } from './until.ts';

/** The node at `index`, counted from 0 and again from the first after the last: rows of tables take turns. */
export function nodeAt(index: number): ClusterNode {
  const node = NODES[index % NODES.length];
  if (node === undefined) throw new Error('Cannot test without a node');
  return node;
}

export interface NodeObject {
  readonly spec: { readonly unschedulable?: boolean; readonly taints?: readonly unknown[] };
  readonly status: {
    readonly allocatable: Readonly<Record<string, string>>;
    readonly conditions: readonly {
      readonly type: string;
      readonly status: string;
      readonly lastHeartbeatTime: string;
    }[];
  };
}

export function nodeObject(name: string): Promise<NodeObject | undefined> {
  return find(`/api/v1/nodes/${name}`);
}

/** Root of a node's file system, as its kubelet sees it. An absolute symlink below it leads out of it. */
export function filesOf({ name, kubelet }: ClusterNode): string {
  const pid = kubelet.pid();
  if (pid === undefined) throw new Error(`Cannot reach the files of ${name}: its kubelet does not run`);
  return `/proc/${pid}/root`;
}

/** Starts what was stopped of a node and of the product, and waits until mounts can be made on it again. */
export async function bringBack(node: ClusterNode): Promise<void> {
  node.containerd.start();
  // A kubelet that finds no runtime ends at once.
  await until(`containerd of ${node.name} to answer`, () => node.ctr('version').then(succeeded, failed));
  node.kubelet.start();
  // A Node object that was deleted returns without the labels that were not the kubelet's.
  await until(`${node.name} to be registered`, async () => (await nodeObject(node.name)) !== undefined);
  await Promise.all(DAEMON_SETS.map((daemonSet) => place(daemonSet, node.name, 'here')));
  await until(`${node.name} to offer its devices`, async () => offersDevices(await nodeObject(node.name)));
  await productReady();
}

const succeeded = (): boolean => true;
const failed = (): boolean => false;

function offersDevices(node: NodeObject | undefined): boolean {
  if (node === undefined) return false;
  const { allocatable } = node.status;
  const isSchedulable = hasCondition(node, 'Ready') && node.spec.taints === undefined;
  return isSchedulable && Number(allocatable[FUSE]) === 1 && Number(allocatable[KMSG]) > 1;
}

/** Waits until every process of the product is ready, on every node. */
export async function productReady(): Promise<void> {
  await Promise.all([
    rolledOut('deployments', 'device-mounter-apiserver'),
    rolledOut('deployments', 'device-mounter-control'),
    rolledOut('daemonsets', 'device-mounter-node'),
    rolledOut('daemonsets', 'hostdev-device-plugin'),
  ]);
  await apiAvailable();
}

export async function apiAvailable(): Promise<void> {
  const path = '/apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.device-mounter.io';
  await until('the APIService to be Available', async () => hasCondition(await find(path), 'Available'));
}
