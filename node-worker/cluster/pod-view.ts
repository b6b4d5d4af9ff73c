import { z } from 'zod';
import { ANNOTATIONS, API_GROUP } from '../../contract/names.ts';

/** A ResourceClaim of a pod: one of its `spec.resourceClaims`, or the one that serves its extended resources (KEP-5004). */
export type PodClaim = {
  /** Name of the ResourceClaim. */
  readonly claim: string;
} & (
  | { readonly name: string }
  | {
      readonly name?: never;
      /** Which request of the claim serves which extended resource. */
      readonly serves: readonly { readonly resource: string; readonly request: string }[];
    }
);

/** What the node worker needs to know of a pod. */
export interface PodView {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** Undefined until it is scheduled. */
  readonly nodeName: string | undefined;
  readonly ownerUids: readonly string[];
  /** True when its containers have started. */
  readonly running: boolean;
  /** Full name of the DeviceMount that it was made for, as its annotation says. */
  readonly mount: string | undefined;
  /** Labels and annotations, without those of device-mounter: one of them holds the whole request. */
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Those that are known by name: a claim that is made from a template gets its name later. */
  readonly claims: readonly PodClaim[];
  /** Why its devices are no longer its own or soon will not be; undefined while it is well. */
  readonly end: string | undefined;
}

const POD = z.object({
  metadata: z.object({
    namespace: z.string(),
    name: z.string(),
    uid: z.string(),
    deletionTimestamp: z.unknown().optional(),
    labels: z.record(z.string(), z.string()).nullish(),
    annotations: z.record(z.string(), z.string()).nullish(),
    ownerReferences: z.array(z.object({ uid: z.string() })).optional(),
  }),
  spec: z.object({
    nodeName: z.string().optional(),
    resourceClaims: z.array(z.object({ name: z.string(), resourceClaimName: z.string().nullish() })).nullish(),
  }),
  status: z
    .object({
      phase: z.string().optional(),
      reason: z.string().optional(),
      message: z.string().optional(),
      conditions: z
        .array(z.object({ type: z.string(), status: z.string(), message: z.string().optional() }))
        .optional(),
      resourceClaimStatuses: z.array(z.object({ name: z.string(), resourceClaimName: z.string().nullish() })).nullish(),
      extendedResourceClaimStatus: z
        .object({
          resourceClaimName: z.string(),
          requestMappings: z.array(z.object({ resourceName: z.string(), requestName: z.string() })),
        })
        .nullish(),
    })
    .optional(),
});
type Pod = z.infer<typeof POD>;

/** Reads a v1.Pod, as an object of the client or as plain JSON of a watch. */
export function podViewOf(pod: unknown): PodView {
  const { metadata, spec, status } = POD.parse(pod);
  return {
    namespace: metadata.namespace,
    name: metadata.name,
    uid: metadata.uid,
    nodeName: spec.nodeName,
    ownerUids: (metadata.ownerReferences ?? []).map(({ uid }) => uid),
    running: status?.phase === 'Running',
    mount: metadata.annotations?.[ANNOTATIONS.mount],
    labels: othersIn(metadata.labels),
    annotations: othersIn(metadata.annotations),
    claims: claimsOf(spec, status),
    end: endOf(status, metadata.deletionTimestamp !== undefined && metadata.deletionTimestamp !== null),
  };
}

function othersIn(map: Readonly<Record<string, string>> | null | undefined): PodView['labels'] {
  return Object.fromEntries(Object.entries(map ?? {}).filter(([key]) => !key.startsWith(`${API_GROUP}/`)));
}

function claimsOf({ resourceClaims }: Pod['spec'], status: Pod['status']): readonly PodClaim[] {
  const named = (resourceClaims ?? []).flatMap(({ name, resourceClaimName }) => {
    const made = status?.resourceClaimStatuses?.find((one) => one.name === name)?.resourceClaimName;
    const claim = resourceClaimName ?? made;
    return claim ? [{ name, claim }] : [];
  });
  const extended = status?.extendedResourceClaimStatus;
  if (!extended) return named;
  const serves = extended.requestMappings.map(({ resourceName, requestName }) => ({
    resource: resourceName,
    request: requestName,
  }));
  return [...named, { claim: extended.resourceClaimName, serves }];
}

function endOf(status: Pod['status'], deleting: boolean): string | undefined {
  const { phase } = status ?? {};
  if (phase === 'Failed' || phase === 'Succeeded') {
    const words = [status?.reason, status?.message].filter((word) => word !== undefined && word !== '');
    return [phase === 'Failed' ? 'it has failed' : 'it has ended', ...words].join(': ');
  }
  if (!deleting) return undefined;
  // Who has evicted or preempted it says so there: https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions
  const disruption = status?.conditions?.find((each) => each.type === 'DisruptionTarget' && each.status === 'True');
  return disruption?.message === undefined ? 'it is being deleted' : `it is being deleted: ${disruption.message}`;
}
