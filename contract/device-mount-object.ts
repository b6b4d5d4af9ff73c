import type { DeviceMount } from './device-mount.ts';
import { API_GROUP, GROUP_VERSION, mountWorkflowId, SLAVE_LABELS } from './names.ts';

/** Version of the DeviceMount objects in kube-apiserver; `v1alpha1` has only the verbs `pods/mount` and `pods/unmount`. */
export const OBJECT_VERSION = 'v1beta1';
export const OBJECT_GROUP_VERSION = `${API_GROUP}/${OBJECT_VERSION}`;

/** Labels of DeviceMount objects. The target's UID has the label that slaves have, so that one selector finds both. */
export const OBJECT_LABELS = {
  targetUid: SLAVE_LABELS.ownerUid,
  node: 'device-mounter.io/node',
  phase: 'device-mounter.io/phase',
} as const;

/** `metav1.Condition`. */
export interface Condition {
  readonly type: 'Mounted' | 'Degraded';
  readonly status: 'True' | 'False';
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration?: number;
  /** RFC 3339, whole seconds. */
  readonly lastTransitionTime: string;
}

/** A mount as readers see it in kube-apiserver: a projection of what its workflow knows. */
export interface DeviceMountObject {
  readonly apiVersion: typeof OBJECT_GROUP_VERSION;
  readonly kind: 'DeviceMount';
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly ownerReferences: readonly object[];
    /** What follows is kube-apiserver's. */
    readonly uid?: string;
    readonly resourceVersion?: string;
    readonly generation?: number;
    readonly creationTimestamp?: string;
    readonly deletionTimestamp?: string;
  };
  readonly spec: DeviceMount['spec'];
  readonly status?: DeviceMountObjectStatus;
}

export type DeviceMountObjectStatus = DeviceMount['status'] & {
  /** The mount's own UID, which its slaves carry: that of the object changes when somebody deletes it. */
  readonly mountUid: string;
  /** Of the mount in Temporal. */
  readonly workflowId: string;
  /** Of the state in the workflow that this shows: milliseconds since 1970, ever greater. */
  readonly version: string;
  /** Devices in few words: their paths, or what was asked for. */
  readonly summary: string;
  readonly conditions: readonly Condition[];
  readonly observedGeneration?: number;
  /** RFC 3339. When this was last known to be what the workflow says. */
  readonly confirmedAt: string;
};

/** The object that shows a mount; of `before`, what it was, the times of its conditions are kept. */
export function objectOf(
  mount: DeviceMount,
  { cluster, at, before }: { readonly cluster: string; readonly at: Date; readonly before?: DeviceMountObject },
): DeviceMountObject {
  const { metadata, spec, status } = mount;
  const { name, namespace, labels, uid: mountUid, resourceVersion: version } = metadata;
  const known = before?.status?.conditions.find(({ type }) => type === 'Mounted');
  const is = status.phase === 'Mounted' ? 'True' : 'False';
  const since = known?.status === is ? known.lastTransitionTime : new Date(Number(version)).toISOString();
  const observedGeneration = before?.metadata.generation;
  const observed = { ...(observedGeneration !== undefined && { observedGeneration }) };
  return {
    apiVersion: OBJECT_GROUP_VERSION,
    kind: 'DeviceMount',
    metadata: {
      name,
      namespace,
      labels: {
        ...labels,
        [OBJECT_LABELS.targetUid]: spec.podUid,
        [OBJECT_LABELS.phase]: status.phase,
        ...(status.node !== undefined && { [OBJECT_LABELS.node]: status.node }),
      },
      ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name: spec.podName, uid: spec.podUid }],
    },
    spec,
    status: {
      ...status,
      mountUid,
      workflowId: mountWorkflowId(cluster, namespace, name),
      version,
      summary: status.devices.flatMap(({ nodes }) => nodes.map(({ path }) => path)).join(', '),
      conditions: [
        {
          type: 'Mounted',
          status: is,
          reason: status.reason ?? status.phase,
          message: status.message ?? '',
          lastTransitionTime: since,
          ...observed,
        },
      ],
      ...observed,
      confirmedAt: at.toISOString(),
    },
  };
}

/** The mount that an object shows; its identity is the object's. */
export function mountOfObject({ metadata, spec, status }: DeviceMountObject): DeviceMount {
  const { name, namespace, uid = '', resourceVersion = '', creationTimestamp = '' } = metadata;
  const {
    mountUid: _,
    workflowId: _w,
    version: _v,
    summary: _s,
    conditions: _c,
    observedGeneration: _o,
    confirmedAt: _a,
    ...shown
  } = status ?? ({ phase: 'Pending', user: '', devices: [], slaves: [] } as unknown as DeviceMountObjectStatus);
  return {
    apiVersion: GROUP_VERSION,
    kind: 'DeviceMount',
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec,
    status: shown,
  };
}

/** Whether an object of kube-apiserver shows this mount, unchanged. */
export function agrees(object: DeviceMountObject, mount: DeviceMount, cluster: string): boolean {
  const { confirmedAt } = object.status ?? {};
  if (confirmedAt === undefined) return false;
  const wanted = objectOf(mount, { cluster, at: new Date(confirmedAt), before: object });
  const { labels, ownerReferences } = object.metadata;
  const is = { labels, ownerReferences, spec: object.spec, status: object.status };
  const { metadata, spec, status } = wanted;
  return equal(is, { labels: metadata.labels, ownerReferences: metadata.ownerReferences, spec, status });
}

function equal(a: unknown, b: unknown): boolean {
  return ordered(a) === ordered(b);
}

function ordered(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([x], [y]) => (x < y ? -1 : 1)))
      : inner,
  );
}
