import type { DeviceMount } from './device-mount.ts';
import { API_GROUP, GROUP_VERSION, SLAVE_LABELS } from './names.ts';

/** Version of the DeviceMount objects in kube-apiserver; `v1alpha1` has only the verbs `pods/mount` and `pods/unmount`. */
export const OBJECT_VERSION = 'v1beta1';
const OBJECT_GROUP_VERSION = `${API_GROUP}/${OBJECT_VERSION}`;

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

const UNTOLD: DeviceMount['status'] = { phase: 'Pending', user: '', devices: [], slaves: [] };

/** The mount that an object shows, with the object's own UID and version. */
export function mountOfObject({ metadata, spec, status }: DeviceMountObject): DeviceMount {
  const { name, namespace, labels, uid = '', resourceVersion = '', creationTimestamp = '' } = metadata;
  const { phase, user, node, devices, slaves, reason, message, mountedAt, leaseEndsAt } = status ?? UNTOLD;
  return {
    apiVersion: GROUP_VERSION,
    kind: 'DeviceMount',
    metadata: { name, namespace, uid, creationTimestamp, resourceVersion, labels },
    spec,
    status: {
      phase,
      user,
      devices,
      slaves,
      ...(node !== undefined && { node }),
      ...(reason !== undefined && { reason }),
      ...(message !== undefined && { message }),
      ...(mountedAt !== undefined && { mountedAt }),
      ...(leaseEndsAt !== undefined && { leaseEndsAt }),
    },
  };
}
