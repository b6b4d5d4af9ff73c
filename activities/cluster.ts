import type { CoreV1Event, V1Lease, V1Node, V1Pod } from '@kubernetes/client-node';
import type { ClaimReference } from '../contract/claims.ts';
import type { DeviceMountObject } from '../contract/device-mount-object.ts';

/** Where a pod is. */
export interface PodRef {
  readonly namespace: string;
  readonly name: string;
}

/** Where the object of a mount is. */
export type MountRef = PodRef;

export interface MountPreconditions {
  readonly uid: string;
  readonly resourceVersion?: string;
}

export interface PodEvent {
  /** `BOOKMARK` only brings a newer resource version. */
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';
  readonly pod: V1Pod;
}

/** What the cluster activities need of Kubernetes. Every method throws `ClusterError` for an answer that is not a success. */
export interface Cluster {
  getPod(ref: PodRef): Promise<V1Pod | undefined>;
  getNode(name: string): Promise<V1Node | undefined>;
  getLease(namespace: string, name: string): Promise<V1Lease | undefined>;
  /** Whether the claim, or the template, that a pod in `namespace` would name so is there. */
  hasClaim(namespace: string, claim: ClaimReference): Promise<boolean>;
  createPod(namespace: string, pod: V1Pod): Promise<V1Pod>;
  /** Succeeds when the pod is not there, or is another one than `uid`. */
  deletePod(ref: PodRef, uid: string, graceSeconds: number): Promise<void>;
  /** JSON merge patch, RFC 7386. With `metadata.resourceVersion` in it a pod that has changed since answers 409. */
  mergePod(ref: PodRef, patch: object): Promise<void>;
  /** `labels` is a label selector, empty for all pods; without `namespace`, of all namespaces. */
  listPods(
    labels: string,
    namespace?: string,
  ): Promise<{ readonly items: readonly V1Pod[]; readonly resourceVersion: string }>;
  /** All pods that are bound to a node, also those that have ended. */
  podsOn(node: string): Promise<readonly V1Pod[]>;
  /** Ends when the server closes the watch; throws `ClusterError` 410 when `resourceVersion` is too old. */
  watchPods(labels: string, resourceVersion: string, signal: AbortSignal, namespace?: string): AsyncIterable<PodEvent>;
  createEvent(namespace: string, event: CoreV1Event): Promise<void>;
  getMount(ref: MountRef): Promise<DeviceMountObject | undefined>;
  /** `labels` is a label selector, empty for all objects; without `namespace`, of all namespaces. 404 without the CustomResourceDefinition. */
  listMounts(labels: string, namespace?: string): Promise<{ readonly items: readonly DeviceMountObject[] }>;
  /**
   * Some objects of all namespaces, without annotations and managed fields, in the order of their names; `next` is where the others begin, empty
   * for none. All pages show what was at the first, but where that is too long ago for kube-apiserver: then what is now. 404 as above.
   */
  pageOfMounts(next: string): Promise<{ readonly items: readonly DeviceMountObject[]; readonly next: string }>;
  /** Without its status, which only `replaceMountStatus` writes. */
  createMount(object: DeviceMountObject): Promise<DeviceMountObject>;
  /** All but the status. An object that has changed since `metadata.resourceVersion` answers 409. */
  replaceMount(object: DeviceMountObject): Promise<DeviceMountObject>;
  /** Nothing but the status. An object that has changed since `metadata.resourceVersion` answers 409. */
  replaceMountStatus(object: DeviceMountObject): Promise<DeviceMountObject>;
  /** Succeeds when the object is not there, or is another one than `preconditions` say. */
  deleteMount(ref: MountRef, preconditions: MountPreconditions): Promise<void>;
}

/** An answer of kube-apiserver that is not a success, or that there was none. */
export class ClusterError extends Error {
  override readonly name = 'ClusterError';
  /** HTTP status code; 0 without an answer. */
  readonly code: number;
  /** `metav1.Status.reason`. */
  readonly reason: string;
  /** `metav1.Status.details.causes[].reason`. */
  readonly causes: readonly string[];
  /** Of a list that is too old to be gone on with: where it goes on with what is there now. */
  readonly next: string;

  constructor(code: number, reason: string, message: string, causes: readonly string[] = [], next = '') {
    super(message);
    this.next = next;
    this.code = code;
    this.reason = reason;
    this.causes = causes;
  }

  /**
   * Whether it says what is, so that asking again changes nothing: not from a kube-apiserver that is busy, away, or has just started and does
   * not know the roles yet ("RBAC: clusterrole … not found").
   */
  get isClear(): boolean {
    const isRefusal = this.code >= 400 && this.code < 500 && ![401, 408, 429].includes(this.code);
    return isRefusal && !/\bRBAC: .*not found/.test(this.message);
  }
}
