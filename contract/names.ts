/** Kubernetes API group and version that the apiserver serves. */
export const API_GROUP = 'device-mounter.io';
export const API_VERSION = 'v1alpha1';
export const GROUP_VERSION = `${API_GROUP}/${API_VERSION}`;

/** Label of nodes that run a node worker. */
export const NODE_LABEL = { key: 'device-mounter-enable', value: 'enable' } as const;

/** Labels of slave pods. The first five are those of the original device-mounter, so that its slaves are recognised. */
export const SLAVE_LABELS = {
  component: 'app.kubernetes.io/component',
  managedBy: 'app.kubernetes.io/managed-by',
  ownerName: 'device-mounter.io/owner-name',
  ownerUid: 'device-mounter.io/owner-uid',
  container: 'device-mounter.io/mounted-container',
  mount: 'device-mounter.io/mount',
} as const;

/** Value of the labels `component` and `managed-by` of slave pods. */
export const MANAGER = 'device-mounter';

export const ANNOTATIONS = {
  /** On slaves: device type in upper case. */
  deviceType: 'device-mounter.io/device-type',
  /** On slaves: name of the DeviceMount, in full (a label value may be cut). */
  mount: 'device-mounter.io/mount',
  /** On slaves: `metadata.uid` of the DeviceMount. */
  mountUid: 'device-mounter.io/mount-uid',
  /** On slaves: JSON of the signed request, by which a mount finds an owner again after Temporal has lost it. */
  request: 'device-mounter.io/request',
  /** On slaves: user who asked for the mount. */
  user: 'device-mounter.io/user',
  /** On targets: JSON list of what is mounted now. */
  devices: 'device-mounter.io/devices',
} as const;

/** How a cluster may be called: no slash, so that no name begins like another one's IDs. */
export const CLUSTER_NAME = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

const CONTROL_QUEUE_PREFIX = 'device-mounter-control/';

/** Task queue of the workflows and cluster activities of `cluster`. */
export function controlQueue(cluster: string): string {
  return `${CONTROL_QUEUE_PREFIX}${cluster}`;
}

/** The cluster whose workflows are in a queue named by `controlQueue`. */
export function clusterOfQueue(queue: string): string {
  return queue.slice(CONTROL_QUEUE_PREFIX.length);
}

/** Task queue of the node worker on `node` of `cluster`. */
export function nodeQueue(cluster: string, node: string): string {
  return `device-mounter-node/${cluster}/${node}`;
}

/** Name of the `coordination.k8s.io/Lease` by which the node worker on `node` shows that it is alive. */
export function nodeLease(node: string): string {
  return `device-mounter-node-${node}`;
}

/** Seconds without renewal after which a node worker counts as gone; it renews three times as often. */
export const NODE_LEASE_SECONDS = 9;

/** The same for one that was asked to end: the next one may only be on its way, and its image may have to be pulled first. */
export const NODE_RESTART_SECONDS = 20;

/**
 * Name of the slave pod `index` (from 0) of a mount for the pod `pod`. `mountUid` is the mount's `metadata.uid`, so that a retry
 * finds the slave that is there and two mounts never share one. At most 63 characters.
 */
export function slaveName(pod: string, mountUid: string, index: number): string {
  const start = pod.slice(0, 40).replace(/(?<![^a-z0-9])[^a-z0-9]+$/, '');
  // A run id is a UUID of version 7: only its end is random.
  return `${start}-slave-${mountUid.replaceAll('-', '').slice(-12)}-${index}`;
}

/** The index in a name made by `slaveName`; `NaN` for another name. */
export function slaveIndex(name: string): number {
  return Number(/-slave-[0-9a-f]{12}-(\d{1,4})$/.exec(name)?.[1]);
}

/** Workflow ID that owns the mount `name`. At most 387 characters, Temporal's limit is 1,000. */
export function mountWorkflowId(cluster: string, namespace: string, name: string): string {
  return `mount/${cluster}/${namespace}/${name}`;
}

/** Workflow ID of one unmount request. */
export function unmountWorkflowId(cluster: string, namespace: string, requestId: string): string {
  return `unmount/${cluster}/${namespace}/${requestId}`;
}

/** Workflow ID that holds an idempotency key; `digest` tells the key and its target apart from others. */
export function keyWorkflowId(cluster: string, namespace: string, digest: string): string {
  return `key/${cluster}/${namespace}/${digest}`;
}

/** Workflow ID that holds the name of a cluster. */
export function clusterWorkflowId(cluster: string): string {
  return `cluster/${cluster}`;
}

/** ID of the Schedule of `reconcileMounts`. */
export function reconcileSchedule(cluster: string): string {
  return `device-mounter-reconcile/${cluster}`;
}

/** Search attributes, all of type Keyword; they must be registered before the first workflow starts. */
export const SEARCH_ATTRIBUTES = {
  cluster: 'MountCluster',
  phase: 'MountPhase',
  node: 'MountNode',
  namespace: 'MountNamespace',
  pod: 'MountPod',
  deviceType: 'MountDeviceType',
  user: 'MountUser',
} as const;
