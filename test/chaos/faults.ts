/** What happens to a part, and where. */
interface FaultRow {
  /** How often, beside the others. */
  readonly weight: number;
  /** `node`: one of each node; `pod`: whatever there is of it on a node at that moment; `cluster`: all nodes share it. */
  readonly where: 'cluster' | 'node' | 'pod';
  /** For how long it stays frozen, or is not started again, in milliseconds. */
  readonly holdMs: readonly [number, number];
  /** For how long nothing else is done to it or to those of the same `group`, after that. */
  readonly calmMs: number;
  readonly group: string;
}

const MOMENT = [0, 0] as const;
/** Whoever restarts servers needs up to some seconds. */
const AWAY = [0, 4_000] as const;
/** Shorter than the 25 s for which an ending slave keeps its device. */
const FROZEN = [500, 9_000] as const;

const cluster = (group: string, weight: number, holdMs: FaultRow['holdMs'], calmMs = 2_000): FaultRow => {
  return { weight, where: 'cluster', holdMs, calmMs, group };
};
const node = (group: string, weight: number, holdMs: FaultRow['holdMs'], calmMs = 2_000): FaultRow => {
  return { weight, where: 'node', holdMs, calmMs, group };
};
const pod = (weight: number): FaultRow => ({ weight, where: 'pod', holdMs: MOMENT, calmMs: 0, group: 'pod' });

/**
 * Everything that is done to the cluster. `store` is what kube-apiserver needs to answer: a node worker that hears nothing of an
 * ending slave for longer than 25 s would be too late, so its parts are hit one at a time.
 */
export const FAULTS = {
  'kill apiserver': cluster('apiserver', 5, MOMENT),
  'freeze apiserver': cluster('apiserver', 4, FROZEN),
  'kill control worker': cluster('control worker', 6, MOMENT),
  'freeze control worker': cluster('control worker', 4, FROZEN),
  'kill node worker': node('node worker', 9, MOMENT, 4_000),
  'freeze node worker': node('node worker', 6, FROZEN, 4_000),
  'freeze node worker too long': node('node worker', 1, [32_000, 32_000], 10_000),
  'kill plugin': node('plugin', 4, MOMENT),
  'freeze plugin': node('plugin', 2, FROZEN),
  'kill Temporal': cluster('temporal', 5, AWAY, 4_000),
  'freeze Temporal': cluster('temporal', 3, FROZEN, 4_000),
  'kill kube-apiserver': cluster('store', 2, AWAY, 12_000),
  'freeze kube-apiserver': cluster('store', 2, FROZEN, 8_000),
  'kill etcd': cluster('store', 2, AWAY, 12_000),
  'freeze etcd': cluster('store', 2, FROZEN, 8_000),
  'kill kube-scheduler': cluster('kube-scheduler', 3, AWAY),
  'freeze kube-scheduler': cluster('kube-scheduler', 2, FROZEN),
  'kill kube-controller-manager': cluster('kube-controller-manager', 2, AWAY, 4_000),
  'freeze kube-controller-manager': cluster('kube-controller-manager', 1, FROZEN, 4_000),
  'kill kubelet': node('kubelet', 5, AWAY, 6_000),
  'freeze kubelet': node('kubelet', 4, FROZEN, 6_000),
  'kill containerd': node('containerd', 4, AWAY, 4_000),
  'freeze containerd': node('containerd', 3, FROZEN, 4_000),
  'delete slave': pod(7),
  'delete slave by force': pod(2),
  'evict slave': pod(3),
  /** As a hard eviction ends a pod (`immediateEvictionGracePeriodSeconds` of the kubelet), which the local nodes do to nobody. */
  'delete slave within a second': pod(2),
  'kill slave': pod(4),
  'delete target': pod(5),
  'evict target': pod(2),
  'kill target': pod(5),
} as const satisfies Record<string, FaultRow>;

export type FaultKind = keyof typeof FAULTS;

export const KINDS = Object.keys(FAULTS) as FaultKind[];

/** What is hit by each kind, without what happens to it: `kube-apiserver`. */
export function partOf(kind: FaultKind): string {
  return kind.replace(/^(kill|freeze|delete|evict) /, '').replace(/ (too long|by force|within a second)$/, '');
}
