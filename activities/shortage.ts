import type { V1Pod } from '@kubernetes/client-node';
import type { SlaveRef } from '../contract/device-mount.ts';
import type { Cluster } from './cluster.ts';

export interface ShortageInput {
  readonly node: string;
  /** Extended resource to quantity: what the slaves were to get together. */
  readonly wanted: Readonly<Record<string, string>>;
  readonly slaves: readonly SlaveRef[];
}

/** `passing`: devices that were refused may be there soon, or are by now. `lasting`: others have them. */
export type Shortage = 'passing' | 'lasting';

/**
 * What the kubelet fails a pod with whose devices it cannot allocate although the scheduler counted on them, as when their plugin has ended:
 * pkg/kubelet/cm/admission/errors.go, by `ManagerImpl.Allocate` in pkg/kubelet/cm/devicemanager.
 */
const REFUSED = 'UnexpectedAdmissionError';

/** Why slaves got no devices, as far as the cluster shows it. A plugin that has ended leaves its resource on the Node, with nothing to allocate. */
export async function shortage(
  { cluster }: { readonly cluster: Pick<Cluster, 'getNode' | 'podsOn'> },
  { node, wanted, slaves }: ShortageInput,
): Promise<Shortage> {
  const [found, pods] = await Promise.all([cluster.getNode(node), cluster.podsOn(node)]);
  const uids = new Set(slaves.map(({ uid }) => uid));
  const isOwn = ({ metadata }: V1Pod): boolean => uids.has(metadata?.uid ?? '');
  if (pods.some((pod) => isOwn(pod) && pod.status?.reason === REFUSED)) return 'passing';
  const { allocatable = {} } = found?.status ?? {};
  const others = pods.filter((pod) => !isOwn(pod) && !hasEnded(pod));
  const lacking = Object.entries(wanted).filter(([resource, quantity]) => {
    const free = Number(allocatable[resource]) - others.reduce((sum, pod) => sum + heldBy(pod, resource), 0);
    return allocatable[resource] !== '0' && !(free >= Number(quantity));
  });
  return lacking.length === 0 && Object.keys(wanted).length > 0 ? 'passing' : 'lasting';
}

function hasEnded({ status }: V1Pod): boolean {
  return status?.phase === 'Succeeded' || status?.phase === 'Failed';
}

/** An init container gives its devices to the others: https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers */
function heldBy({ spec }: V1Pod, resource: string): number {
  const all = [
    ...(spec?.containers ?? []),
    ...(spec?.initContainers ?? []).filter((each) => each.restartPolicy === 'Always'),
  ];
  const countIn = ({ resources }: (typeof all)[number]): number => Number(resources?.limits?.[resource] ?? 0);
  const together = all.reduce((sum, container) => sum + countIn(container), 0);
  return Math.max(together, ...(spec?.initContainers ?? []).map(countIn));
}
