import type { Allocation } from './checkpoint.ts';

/** How many devices of each resource were asked for. */
export type Wanted = Readonly<Record<string, string>>;

/** Where an allocation stands. */
export type Claim =
  | { readonly state: 'complete'; readonly allocations: readonly Allocation[] }
  /** The kubelet may still allocate. */
  | { readonly state: 'missing'; readonly message: string }
  /** It never becomes right. */
  | { readonly state: 'wrong'; readonly message: string };

/**
 * What the pods `slaves` (UIDs) were allocated of `wanted`, out of all allocations of the node. More than was asked for,
 * or a device that another pod has too, is wrong: then an entry is left over from a pod that is gone.
 */
export function claimOf(all: readonly Allocation[], slaves: readonly string[], wanted: Wanted): Claim {
  const allocations = all.filter(({ podUid, resource }) => slaves.includes(podUid) && Object.hasOwn(wanted, resource));
  for (const [resource, quantity] of Object.entries(wanted)) {
    const ids = allocations.filter((own) => own.resource === resource).flatMap(({ deviceIds }) => deviceIds);
    if (ids.length > Number(quantity)) {
      return { state: 'wrong', message: `${quantity} of ${resource} were asked for, ${ids.length} are allocated` };
    }
    if (ids.length < Number(quantity)) {
      return { state: 'missing', message: `${quantity} of ${resource} must be allocated, ${ids.length} are` };
    }
    const other = all.find(
      (entry) =>
        entry.resource === resource && !slaves.includes(entry.podUid) && entry.deviceIds.some((id) => ids.includes(id)),
    );
    if (other !== undefined) {
      return { state: 'wrong', message: `a device of ${resource} is also allocated to the pod ${other.podUid}` };
    }
  }
  return { state: 'complete', allocations };
}
