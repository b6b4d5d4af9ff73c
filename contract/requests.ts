import type { ClaimReference } from './claims.ts';
import type { DeviceMount } from './device-mount.ts';
import type { DeviceTypeName } from './device-types.ts';

/** Who asked, as kube-apiserver authenticated them. */
export interface User {
  readonly name: string;
  readonly uid?: string;
}

/** A container of one certain pod: a pod that takes over the name is another target. */
export interface Target {
  readonly namespace: string;
  readonly pod: string;
  readonly podUid: string;
  readonly container: string;
}

/** An operation of RFC 6902 on the slave pod, already checked against the allow-list. */
export interface PatchOperation {
  readonly op: 'add' | 'replace' | 'remove' | 'test';
  /** JSON Pointer, RFC 6901. */
  readonly path: string;
  readonly value?: unknown;
}

/** An authorised request to mount, parsed and complete: nothing is defaulted after this. */
export interface MountRequest {
  readonly kind: 'mount';
  /** Name of the cluster that the target is in: others may trust the same key. */
  readonly cluster: string;
  /** Name of the DeviceMount, unique in the namespace; a DNS subdomain. */
  readonly name: string;
  readonly target: Target;
  readonly deviceType: DeviceTypeName;
  /** Extended resource to quantity, for example `hostdev.k8s.io/dev_fuse` to `1`. */
  readonly resources: Readonly<Record<string, string>>;
  /** Claims of dynamic resource allocation, each name once. Absent: none. */
  readonly claims?: readonly ClaimReference[];
  /** A slave pod for each device, so that each can be unmounted, and is free for others, by itself. Absent: one for all. */
  readonly split?: true;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly patches: readonly PatchOperation[];
  /** Stay Pending while no device is free, instead of failing at once. */
  readonly queue: boolean;
  /** What happens to the mount when the container restarts. */
  readonly onRestart: 'reapply' | 'release';
  /**
   * Whether files of the node, such as the driver's libraries, are mounted in the container besides the devices. `files`: all that the
   * devices need; the mount fails where that cannot be. Absent: what the container lacks, as far as possible.
   */
  readonly inject?: 'none' | 'files';
  /** The mount ends this many seconds after it was made or renewed. Absent: it lives as long as its target. */
  readonly leaseSeconds?: number;
  readonly idempotencyKey?: string;
  readonly user: User;
  /** RFC 3339. */
  readonly requestedAt: string;
  /** Seconds from `requestedAt` in which the mount must be made, or else it is undone. */
  readonly deadlineSeconds: number;
}

/**
 * What each slave of a mount asks for, by its index: all of it in one, or in a split mount one device each.
 */
export function sharesOf({
  resources,
  split,
}: Pick<MountRequest, 'resources' | 'split'>): readonly MountRequest['resources'][] {
  if (split !== true) return [resources];
  const inOrder = Object.entries(resources).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return inOrder.flatMap(([resource, quantity]) =>
    Array.from({ length: Number(quantity) }, () => ({ [resource]: '1' })),
  );
}

/** Annotation of a mount of a vGPU that is to make one larger that the container has. */
export const EXPANSION = 'device-mounter.io/expansion';

/** What it may say, as the original reads it. */
export const EXPANSION_FORM = /^\s*(?:true|false)\s*$/i;

export const wantsExpansion = ({ annotations }: Pick<MountRequest, 'annotations'>): boolean =>
  annotations[EXPANSION]?.trim().toLowerCase() === 'true';

/** An authorised request to unmount. */
export interface UnmountRequest {
  readonly kind: 'unmount';
  /** Name of the cluster that the target is in. */
  readonly cluster: string;
  /** Identifies the request: last part of its workflow ID. */
  readonly id: string;
  readonly target: Target;
  /** Only mounts of this type. */
  readonly deviceType: DeviceTypeName;
  /** Only this mount. */
  readonly mount?: string;
  /** Only this device, by the id of its device plugin. What one slave holds can only go together. */
  readonly device?: string;
  /** End processes that use the devices. */
  readonly force: boolean;
  readonly user: User;
  /** RFC 3339. */
  readonly requestedAt: string;
  readonly deadlineSeconds: number;
}

/** Whether a request to unmount means a mount, if that is still there. */
export function isMeant(
  { metadata, spec, status }: DeviceMount,
  { target, deviceType, mount, device }: UnmountRequest,
): boolean {
  return (
    metadata.namespace === target.namespace &&
    spec.podUid === target.podUid &&
    spec.container === target.container &&
    spec.deviceType === deviceType &&
    (mount === undefined || metadata.name === mount) &&
    (device === undefined || status.devices.some(({ id }) => id === device)) &&
    status.phase !== 'Released' &&
    status.phase !== 'Failed'
  );
}

/** How far the clocks of two machines of a cluster may be apart. */
const CLOCK_SKEW_MS = 60_000;

/**
 * Milliseconds since 1970 after which a request begins nothing any more, by the clock of any machine of the cluster: whoever
 * has seen a signed one cannot use it again later.
 */
export function endsAtMs({
  requestedAt,
  deadlineSeconds,
}: Pick<MountRequest | UnmountRequest, 'requestedAt' | 'deadlineSeconds'>): number {
  return Date.parse(requestedAt) + deadlineSeconds * 1_000 + CLOCK_SKEW_MS;
}

/** A request with the apiserver's proof that it authorised exactly this. Temporal is not trusted with root. */
export interface Signed<Request extends MountRequest | UnmountRequest> {
  readonly request: Request;
  /** Ed25519 over the canonical JSON of `request`, base64. */
  readonly signature: string;
}
