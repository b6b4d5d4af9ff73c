import { canonicalJson } from './canonical-json.ts';
import { claimResource } from './claims.ts';
import type { DeviceMount } from './device-mount.ts';
import { type Condition, conditionsOf } from './mount-conditions.ts';
import { API_GROUP, GROUP_VERSION, mountWorkflowId, SLAVE_LABELS } from './names.ts';

export type { Condition } from './mount-conditions.ts';

/** Version of the DeviceMount objects in kube-apiserver; `v1alpha1` has only the verbs `pods/mount` and `pods/unmount`. */
export const OBJECT_VERSION = 'v1beta1';
export const OBJECT_GROUP_VERSION = `${API_GROUP}/${OBJECT_VERSION}`;

/** Labels of DeviceMount objects. The target's UID has the label that slaves have, so that one selector finds both. */
export const OBJECT_LABELS = {
  targetUid: SLAVE_LABELS.ownerUid,
  node: 'device-mounter.io/node',
  phase: 'device-mounter.io/phase',
} as const;
const OUR_LABELS: readonly string[] = Object.values(OBJECT_LABELS);

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

export interface Projection {
  /** Name of the cluster that the mount is in. */
  readonly cluster: string;
  /** RFC 3339. When the mount was known to be so. */
  readonly at: string;
  /** The object that is there. */
  readonly before?: DeviceMountObject | undefined;
}

/** What the object of a mount is to be. Labels that others have given to it stay. */
export function objectOf(mount: DeviceMount, projection: Projection): DeviceMountObject {
  const { metadata, spec } = mount;
  const target = { apiVersion: 'v1', kind: 'Pod', name: spec.podName, uid: spec.podUid };
  return {
    apiVersion: OBJECT_GROUP_VERSION,
    kind: 'DeviceMount',
    metadata: {
      name: metadata.name,
      namespace: metadata.namespace,
      labels: { ...labelsOfOthers(projection.before), ...metadata.labels, ...labelsOf(mount) },
      ownerReferences: [target],
    },
    spec,
    status: statusOf(mount, projection),
  };
}

function labelsOf({ spec, status }: DeviceMount): Record<string, string> {
  const labels = {
    [OBJECT_LABELS.targetUid]: spec.podUid,
    [OBJECT_LABELS.node]: status.node ?? '',
    [OBJECT_LABELS.phase]: status.phase,
  };
  // A node's name may be longer than a label's value.
  return Object.fromEntries(Object.entries(labels).filter(([, { length }]) => length > 0 && length <= 63));
}

function labelsOfOthers(object: DeviceMountObject | undefined): Record<string, string> {
  const labels = Object.entries(object?.metadata.labels ?? {});
  return Object.fromEntries(labels.filter(([key]) => !OUR_LABELS.includes(key)));
}

function statusOf(mount: DeviceMount, { cluster, at, before }: Projection): DeviceMountObjectStatus {
  const { metadata, status } = mount;
  const generation = before?.metadata.generation;
  return {
    ...status,
    mountUid: metadata.uid,
    workflowId: mountWorkflowId(cluster, metadata.namespace, metadata.name),
    version: metadata.resourceVersion,
    summary: summaryOf(mount),
    conditions: conditionsOf(mount, before?.status?.conditions ?? [], generation),
    ...(generation !== undefined && { observedGeneration: generation }),
    confirmedAt: at,
  };
}

/** So many devices are named in a column of `kubectl get`. */
const SUMMARY_DEVICES = 3;

/** What the container has; in parentheses what it was to have. */
function summaryOf({ spec, status: { devices } }: DeviceMount): string {
  if (devices.length === 0) {
    const asked = Object.entries(spec.resources).map(([resource, quantity]) => `${resource}=${quantity}`);
    const claims = (spec.claims ?? []).map(({ name }) => claimResource(name));
    return `(${[...asked, ...claims].join(',')})`;
  }
  // A path tells more than an id such as GPU-5f3c….
  const names = devices.slice(0, SUMMARY_DEVICES).map(({ id, nodes: [node] }) => node?.path ?? id);
  const more = devices.length - names.length;
  return [...names, ...(more > 0 ? [`+${more}`] : [])].join(',');
}

/** Whether an object shows all of a mount as it is now, whenever that was confirmed. */
export function agrees(object: DeviceMountObject, mount: DeviceMount, cluster: string): boolean {
  const { metadata, spec, status } = object;
  if (status === undefined) return false;
  const wanted = objectOf(mount, { cluster, at: status.confirmedAt, before: object });
  return (
    canonicalJson([metadata.labels, metadata.ownerReferences, spec, status]) ===
    canonicalJson([wanted.metadata.labels, wanted.metadata.ownerReferences, wanted.spec, wanted.status])
  );
}

/**
 * The mount that an object shows, as mount and unmount answer it: its UID and version are the object's. One that has no status yet is
 * Pending, of nobody.
 */
export function mountOfObject(object: DeviceMountObject): DeviceMount {
  const { metadata, spec, status } = object;
  const labels = labelsOfOthers(object);
  return {
    apiVersion: GROUP_VERSION,
    kind: 'DeviceMount',
    metadata: {
      name: metadata.name,
      namespace: metadata.namespace,
      uid: metadata.uid ?? status?.mountUid ?? '',
      creationTimestamp: metadata.creationTimestamp ?? '',
      resourceVersion: metadata.resourceVersion ?? status?.version ?? '',
      ...(Object.keys(labels).length > 0 && { labels }),
    },
    spec,
    status: status === undefined ? { phase: 'Pending', user: '', devices: [], slaves: [] } : ownStatusOf(status),
  };
}

/** The part of an object's status that the mount has, too. */
function ownStatusOf(status: DeviceMountObjectStatus): DeviceMount['status'] {
  const {
    mountUid: _mountUid,
    workflowId: _workflowId,
    version: _version,
    summary: _summary,
    conditions: _conditions,
    observedGeneration: _generation,
    confirmedAt: _at,
    ...own
  } = status;
  return own;
}
