import type { DeviceMount } from '../../contract/device-mount.ts';
import { type FailureType, isFailureType } from '../../contract/failures.ts';
import type { KubeAnswer } from '../../deploy/local/kube-api.ts';
import type { Call } from './history.ts';

/**
 * Failures that say nothing of the mount: somebody was away who would know. A kube-apiserver that has just started refuses
 * requests, or does not know the API yet.
 */
const UNCLEAR: readonly FailureType[] = [
  'TemporalUnavailable',
  'Internal',
  'TooManyRequests',
  'Unauthorized',
  'Forbidden',
  'NotFound',
];

/** Whether an answer tells what has become of the request. */
export function isClear({ status, failure }: Pick<Call, 'status' | 'failure'>): boolean {
  if (status === undefined) return false;
  if (status < 300) return true;
  return failure !== undefined && !UNCLEAR.includes(failure as FailureType);
}

interface Status {
  readonly message?: string;
  readonly reason?: string;
  readonly details?: { readonly causes?: readonly { readonly reason: string }[] };
}

/** What is written down of an answer. */
export function partsOf({ status, body }: KubeAnswer): Partial<Call> {
  if (status >= 300) return { status, ...failurePartsOf(body) };
  const { status: state } = body as Partial<DeviceMount>;
  const slave = state?.slaves?.[0]?.name;
  return {
    status,
    ...(slave !== undefined && { slave }),
    ...(state?.phase !== undefined && { phase: state.phase }),
    ...(state?.leaseEndsAt !== undefined && { leaseEndsAt: state.leaseEndsAt }),
  };
}

/** A server on the way answers in plain text. */
function failurePartsOf(body: unknown): Partial<Call> {
  if (typeof body !== 'object' || body === null) return { message: String(body) };
  const { message = '', reason, details } = body as Status;
  const reasons = (details?.causes ?? []).map((cause) => cause.reason);
  const failure = [reasons[0], reason].find(isFailureType);
  const causes = reasons.filter((each) => !isFailureType(each));
  return { message, causes, ...(failure !== undefined && { failure }) };
}
