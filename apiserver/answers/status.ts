import { FAILURES, type FailureCause, type FailureType, failureOf } from '../../contract/failures.ts';

/** `metav1.Status` of a failure. */
export interface Status {
  readonly kind: 'Status';
  readonly apiVersion: 'v1';
  readonly metadata: Readonly<Record<string, never>>;
  readonly status: 'Failure';
  readonly message: string;
  readonly reason: string;
  readonly details?: StatusDetails;
  readonly code: number;
}

interface StatusDetails extends StatusSubject {
  readonly causes?: readonly FailureCause[];
  readonly retryAfterSeconds?: number;
}

/** What the request was about. */
export interface StatusSubject {
  readonly name?: string;
  readonly group?: string;
  readonly kind?: string;
}

/** Failures after which the same request may succeed a moment later, and after how many seconds. */
const RETRY_AFTER_SECONDS: Partial<Record<FailureType, number>> = {
  TooManyRequests: 1,
  TemporalUnavailable: 2,
  KubernetesUnavailable: 2,
  KubeletUnavailable: 2,
  NodeUnreachable: 10,
  Timeout: 2,
};

/**
 * The answer to a request that failed. What is not a failure of `FAILURES` becomes `Internal`, and its text stays in the log under `auditId`.
 * The failure's type is the first cause, unless it says the same as the reason.
 */
export function statusOf(err: unknown, auditId: string, subject: StatusSubject = {}): Status {
  const failure = failureOf(err);
  const type = failure?.type ?? 'Internal';
  const { code, reason } = FAILURES[type];
  const message =
    failure === undefined || type === 'Internal'
      ? `Internal error occurred: the log of the apiserver tells more under auditID ${auditId}`
      : failure.message;
  const given: unknown = failure?.details?.[0];
  const causes: FailureCause[] = [
    ...(type === reason ? [] : [{ reason: type, message }]),
    ...(Array.isArray(given) ? (given as FailureCause[]) : []),
  ];
  const retryAfterSeconds = RETRY_AFTER_SECONDS[type];
  const details = {
    ...subject,
    ...(causes.length > 0 && { causes }),
    ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
  };
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message,
    reason,
    ...(type !== 'Unauthorized' && Object.keys(details).length > 0 && { details }),
    code,
  };
}

/** Whether a client may repeat the request by itself: client-go does so up to 10 times where there is a `Retry-After`. */
export function retryAfterHeader({ code, details }: Status): string | undefined {
  // Only a request that was turned away at the door has had no effect for sure.
  return code === 429 ? String(details?.retryAfterSeconds ?? 1) : undefined;
}
