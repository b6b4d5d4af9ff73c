import { status as grpcStatus, type ServiceError } from '@grpc/grpc-js';
import {
  Client,
  Connection,
  defaultGrpcRetryOptions,
  isGrpcServiceError,
  makeGrpcRetryInterceptor,
} from '@temporalio/client';
import { fail } from '../../contract/failures.ts';
import { NameOfAnotherCluster } from '../../process/cluster-claim.ts';
import type { TemporalAccess } from '../../process/temporal-access.ts';

/** Attempts of one call: 0.5 s in all. A client waits for the answer, and whoever repeats the request will try again. */
const ATTEMPTS = 3;

/** A client that connects when it is first used, so that the server starts without Temporal. */
export function temporalClient({ namespace, connection: where, apiKey, dataConverter }: TemporalAccess): Client {
  const connection = Connection.lazy({
    ...where,
    ...(apiKey !== undefined && { apiKey }),
    connectTimeout: 2_000,
    interceptors: [makeGrpcRetryInterceptor(defaultGrpcRetryOptions({ maxAttempts: ATTEMPTS }))],
    // Finds a dead peer in 15 s. Temporal's frontend refuses pings that come more often than every 10 s.
    channelArgs: {
      'grpc.keepalive_time_ms': 10_000,
      'grpc.keepalive_timeout_ms': 5_000,
      'grpc.max_reconnect_backoff_ms': 2_000,
    },
  });
  return new Client({ connection, namespace, dataConverter });
}

/** gRPC codes by which the other side says that it is not there, or not well. */
const ABSENT: readonly grpcStatus[] = [
  grpcStatus.UNAVAILABLE,
  grpcStatus.DEADLINE_EXCEEDED,
  grpcStatus.CANCELLED,
  grpcStatus.RESOURCE_EXHAUSTED,
  grpcStatus.ABORTED,
  // Of a workflow whose task has failed or is late.
  grpcStatus.FAILED_PRECONDITION,
  grpcStatus.UNKNOWN,
  grpcStatus.PERMISSION_DENIED,
  grpcStatus.UNAUTHENTICATED,
  grpcStatus.NOT_FOUND,
];

/** What Temporal says of a namespace that the control worker has not prepared yet, with Elasticsearch and without. */
const UNPREPARED = /search attribute \S+ is not defined|no mapping defined for search attribute/;
const PREPARING =
  'Cannot begin workflows yet: the Temporal namespace has no search attributes of mounts. ' +
  'The control worker registers them, or tells in its log why it cannot';

/** The gRPC error in a chain of causes; the SDK wraps most of them. */
function grpcErrorOf(err: unknown): ServiceError | undefined {
  for (let e = err; e instanceof Error; e = e.cause) {
    if (isGrpcServiceError(e)) return e;
  }
  return undefined;
}

/** Whether an error shows that Temporal is not there, so that a moment later it may be. */
export function isAbsence(err: unknown): boolean {
  const code = grpcErrorOf(err)?.code;
  return code !== undefined && ABSENT.includes(code);
}

/** Passes failures of ours on; makes `TemporalUnavailable` of what shows that Temporal is not there, or not prepared. */
export function withoutTemporal(err: unknown, consequence: string): unknown {
  if (err instanceof NameOfAnotherCluster) return fail('TemporalUnavailable', err.message, err);
  if (isAbsence(err)) return fail('TemporalUnavailable', `Cannot reach Temporal: ${consequence}`, err);
  return isUnprepared(err) ? fail('TemporalUnavailable', PREPARING, err) : err;
}

function isUnprepared(err: unknown): boolean {
  const refusal = grpcErrorOf(err);
  return refusal?.code === grpcStatus.INVALID_ARGUMENT && UNPREPARED.test(refusal.message);
}
