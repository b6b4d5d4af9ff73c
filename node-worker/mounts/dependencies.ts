import type { Logger } from 'pino';
import type { Verifier } from '../../contract/signature.ts';
import type { EventSink } from '../../process/events.ts';
import type { PodReader } from '../cluster/pods.ts';
import type { KernelEngine } from '../kernel/engine.ts';
import type { Changes } from '../kubelet/changes.ts';
import type { Kubelet } from '../kubelet/kubelet-files.ts';
import type { PodResources } from '../kubelet/pod-resources.ts';
import type { NodeMetrics } from '../metrics.ts';
import type { Containers } from '../runtime/cri.ts';
import type { Locks } from '../state/locks.ts';
import type { MountStore } from '../state/mount-store.ts';

/** What the node activities need; made by main.ts, and in memory by tests. */
export interface NodeDependencies extends Verifier {
  readonly node: string;
  readonly pods: PodReader;
  readonly events: EventSink;
  readonly kubelet: Kubelet;
  readonly podResources: PodResources;
  readonly containers: Containers;
  readonly engine: KernelEngine;
  readonly store: MountStore;
  /** By container of a pod, see `lockOf`: attach, detach, revocation and healing of one never interleave. */
  readonly locks: Locks;
  /** Why a slave has ended, as far as the watch of this node's slaves knows. */
  readonly endOfSlave: (uid: string) => string | undefined;
  /** Whether a slave's containers run; undefined while it has not been seen. */
  readonly slaveRuns: (uid: string) => boolean | undefined;
  /** When any slave of this node last began to run, in milliseconds since 1970: the kubelet still makes progress. */
  readonly lastSlaveStartMs: () => number;
  /** Wakes those who wait for the kubelet or a slave. */
  readonly changes: Pick<Changes, 'count' | 'next' | 'waiting'>;
  /** Root of the host's file system, where device files are looked up. */
  readonly hostRoot: string;
  /** See `Host`. */
  readonly driverRoots: readonly string[];
  readonly log: Logger;
  readonly metrics: NodeMetrics;
}

/** What a step knows of the call it serves. */
export interface Call {
  /** Aborted when the workflow no longer waits or this process stops. */
  readonly signal: AbortSignal;
}

/** Key in `Locks` of a container; restarts keep it. */
export function lockOf({ podUid, container }: { readonly podUid: string; readonly container: string }): string {
  return `${podUid}/${container}`;
}
