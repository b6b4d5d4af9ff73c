import { z } from 'zod';
import { ANNOTATIONS, API_GROUP } from '../../contract/names.ts';

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
  spec: z.object({ nodeName: z.string().optional() }),
  status: z
    .object({
      phase: z.string().optional(),
      reason: z.string().optional(),
      message: z.string().optional(),
      conditions: z
        .array(z.object({ type: z.string(), status: z.string(), message: z.string().optional() }))
        .optional(),
    })
    .optional(),
});

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
    end: endOf(status, metadata.deletionTimestamp !== undefined && metadata.deletionTimestamp !== null),
  };
}

function othersIn(map: Readonly<Record<string, string>> | null | undefined): PodView['labels'] {
  return Object.fromEntries(Object.entries(map ?? {}).filter(([key]) => !key.startsWith(`${API_GROUP}/`)));
}

function endOf(status: z.infer<typeof POD>['status'], deleting: boolean): string | undefined {
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
