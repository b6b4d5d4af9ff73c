import type { V1Lease, V1Node } from '@kubernetes/client-node';
import type { ClusterError } from '../../activities/cluster.ts';
import { NODE_LABEL, NODE_LEASE_SECONDS, nodeLease } from '../../contract/names.ts';
import { MemoryMounts } from './memory-mounts.ts';

interface Node {
  readonly free: Map<string, number>;
  readonly enabled: boolean;
  /** When its node worker has renewed the Lease for the last time; absent while it goes on. */
  lapsedAt?: { readonly renewTime?: Date } | undefined;
  /** How far its clock is ahead. */
  aheadMs: number;
  /** The next pods that the kubelet fails, as it does while their device plugin restarts. */
  refusals: number;
  /** The next pods that the scheduler finds no device for, since it does not know of them yet. */
  overlooked: number;
  /** What its Node says that there is of each device. */
  readonly allocatable: Map<string, number>;
}

/** Of each device of a node. */
export const HELD_BY_OTHERS = 1;

/** Nodes and the Leases of their node workers. */
export class MemoryNodes extends MemoryMounts {
  readonly nodes = new Map<string, Node>();
  /** How often a pod, a node or a Lease was read. */
  reads = 0;
  /** What reads of Nodes end with. */
  unwellNodes: ClusterError | undefined;

  protected putNode(name: string, devices: Readonly<Record<string, number>>, enabled: boolean): void {
    const free = new Map(Object.entries(devices));
    const allocatable = new Map(free.entries().map(([resource, count]) => [resource, count + HELD_BY_OTHERS]));
    this.nodes.set(name, { free, enabled, aheadMs: 0, refusals: 0, overlooked: 0, allocatable });
  }

  protected node(name: string): Node {
    const node = this.nodes.get(name);
    if (node === undefined) throw new Error(`no node ${name}`);
    return node;
  }

  /** What is left of a node whose worker has stopped. */
  lapse(name: string, renewTime: Date | null = new Date(0)): void {
    this.node(name).lapsedAt = { ...(renewTime !== null && { renewTime }) };
  }

  revive(name: string): void {
    this.node(name).lapsedAt = undefined;
  }

  /** The kubelet fails the next `count` pods with devices. */
  refusePods(name: string, count: number): void {
    this.node(name).refusals = count;
  }

  /** The scheduler finds no device for the next `count` pods. */
  overlookPods(name: string, count: number): void {
    this.node(name).overlooked = count;
  }

  /** As when no device plugin is there, or is again. */
  setAllocatable(name: string, resource: string, count: number): void {
    this.node(name).allocatable.set(resource, count);
  }

  setClock(name: string, aheadSeconds: number): void {
    this.node(name).aheadMs = aheadSeconds * 1_000;
  }

  async getNode(name: string): Promise<V1Node | undefined> {
    this.reads++;
    if (this.unwellNodes !== undefined) throw this.unwellNodes;
    const node = this.nodes.get(name);
    if (node === undefined) return undefined;
    const allocatable = Object.fromEntries(
      node.allocatable.entries().map(([resource, count]) => [resource, String(count)]),
    );
    const labels = node.enabled ? { [NODE_LABEL.key]: NODE_LABEL.value } : {};
    return { metadata: { name, labels }, status: { allocatable } };
  }

  async getLease(_namespace: string, name: string): Promise<V1Lease | undefined> {
    this.reads++;
    const node = [...this.nodes].find(([each]) => nodeLease(each) === name)?.[1];
    if (node === undefined) return undefined;
    const renewed = node.lapsedAt ?? { renewTime: new Date(Date.now() + node.aheadMs) };
    return { spec: { leaseDurationSeconds: NODE_LEASE_SECONDS, ...renewed } };
  }
}
