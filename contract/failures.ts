import { ApplicationFailure } from '@temporalio/common';
import type { UnmountRequest } from './requests.ts';

interface FailureRow {
  /** HTTP status code of the answer. */
  readonly code: number;
  /** `metav1.Status.reason`. */
  readonly reason: string;
  /** Whether Temporal tries an activity again that ends so. */
  readonly retry: boolean;
}

/**
 * Every way a request can fail, once. The key is the `type` of the `ApplicationFailure` that carries it through
 * Temporal and the `reason` in `details.causes` of the `metav1.Status` that the caller gets.
 */
export const FAILURES = {
  BadRequest: { code: 400, reason: 'BadRequest', retry: false },
  Unauthorized: { code: 401, reason: 'Unauthorized', retry: false },
  Forbidden: { code: 403, reason: 'Forbidden', retry: false },
  InvalidSignature: { code: 403, reason: 'Forbidden', retry: false },
  /** The kubelet has not given the slave the device that was asked for; also what a forged task gets. */
  NotAllocated: { code: 403, reason: 'Forbidden', retry: false },
  NotFound: { code: 404, reason: 'NotFound', retry: false },
  PodNotFound: { code: 404, reason: 'NotFound', retry: false },
  NothingMounted: { code: 404, reason: 'NotFound', retry: false },
  MethodNotAllowed: { code: 405, reason: 'MethodNotAllowed', retry: false },
  NotAcceptable: { code: 406, reason: 'NotAcceptable', retry: false },
  DeviceBusy: { code: 409, reason: 'Conflict', retry: false },
  InsufficientDevices: { code: 409, reason: 'Conflict', retry: false },
  ContainerNotReady: { code: 409, reason: 'Conflict', retry: false },
  /** The container's kernel, cgroup or /dev cannot be changed from outside, for example Kata or gVisor. */
  ContainerUnsupported: { code: 409, reason: 'Conflict', retry: false },
  /** Not `Conflict`, which tells clients to read again and repeat. */
  NameTaken: { code: 409, reason: 'AlreadyExists', retry: false },
  IdempotencyKeyReused: { code: 409, reason: 'Conflict', retry: false },
  MountEnded: { code: 409, reason: 'Conflict', retry: false },
  /** The target pod is ending, has ended, or was replaced by another pod of the same name. */
  TargetGone: { code: 409, reason: 'Conflict', retry: false },
  /** The slave pod failed, was evicted or was deleted while its devices were needed. */
  SlaveEnded: { code: 409, reason: 'Conflict', retry: false },
  /** The target's node does not carry the label that puts a node worker on it. */
  NodeNotEnabled: { code: 409, reason: 'Conflict', retry: false },
  /** The request ended because its owner asked for that, for example by Cancel in Temporal. */
  Canceled: { code: 409, reason: 'Conflict', retry: false },
  RequestTooLarge: { code: 413, reason: 'RequestEntityTooLarge', retry: false },
  Invalid: { code: 422, reason: 'Invalid', retry: false },
  /** The API server, a quota or an admission webhook refused the slave pod. */
  SlaveRefused: { code: 422, reason: 'Invalid', retry: false },
  TooManyRequests: { code: 429, reason: 'TooManyRequests', retry: true },
  Internal: { code: 500, reason: 'InternalError', retry: true },
  /** Something begun could not be undone; the message names what is left. */
  RollbackIncomplete: { code: 500, reason: 'InternalError', retry: false },
  NodeUnreachable: { code: 503, reason: 'ServiceUnavailable', retry: false },
  TemporalUnavailable: { code: 503, reason: 'ServiceUnavailable', retry: true },
  /** kube-apiserver did not answer, or answered nothing that tells what is. */
  KubernetesUnavailable: { code: 503, reason: 'ServiceUnavailable', retry: true },
  KubeletUnavailable: { code: 503, reason: 'ServiceUnavailable', retry: true },
  /** What the container shows of itself cannot be read in time; nothing else waits for it. */
  ContainerStuck: { code: 503, reason: 'ServiceUnavailable', retry: true },
  Timeout: { code: 504, reason: 'Timeout', retry: false },
} as const satisfies Record<string, FailureRow>;

export type FailureType = keyof typeof FAILURES;

export function isFailureType(type: unknown): type is FailureType {
  return typeof type === 'string' && Object.hasOwn(FAILURES, type);
}

/** More about a failure, for `metav1.Status.details.causes`. */
export interface FailureCause {
  readonly reason: string;
  readonly message: string;
  /** Path of the offending field, for example `patches[0].path`. */
  readonly field?: string;
}

/**
 * Makes the one kind of error that crosses process borders. `message` is shown to the user; `cause` is kept for logs.
 * Wording: `Cannot <action> "<value>": <what stands in the way, as it is now>`, and what to do where that is not plain.
 */
export function fail(
  type: FailureType,
  message: string,
  cause?: unknown,
  causes: readonly FailureCause[] = [],
): ApplicationFailure {
  return ApplicationFailure.create({
    type,
    message,
    nonRetryable: !FAILURES[type].retry,
    ...(causes.length > 0 && { details: [causes] }),
    ...(cause instanceof Error && { cause }),
  });
}

/** What a request to unmount fails with that means nothing. */
export function nothingMounted({ target, deviceType, mount, device }: UnmountRequest): ApplicationFailure {
  const what = device === undefined ? `${deviceType} device` : `${deviceType} device "${device}"`;
  const of = mount === undefined ? '' : ` of mount "${mount}"`;
  const where = `container "${target.container}" of pod "${target.namespace}/${target.pod}"`;
  return fail('NothingMounted', `Cannot unmount: no ${what}${of} is mounted in ${where}`);
}

/** What a mount or unmount fails with when the Lease of the node's worker has lapsed. */
export function nodeUnreachable(node: string): ApplicationFailure {
  const why = 'its node worker does not run, or is cut off: its Lease has lapsed';
  return fail('NodeUnreachable', `Cannot reach node "${node}": ${why}`);
}

/** The first failure of the table in a chain of causes (workflow, then activity, then application), if there is one. */
export function failureOf(err: unknown): (ApplicationFailure & { readonly type: FailureType }) | undefined {
  for (let e = err; e instanceof Error; e = e.cause) {
    if (e instanceof ApplicationFailure && isFailureType(e.type)) {
      return e as ApplicationFailure & { readonly type: FailureType };
    }
  }
  return undefined;
}
