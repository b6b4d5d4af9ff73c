import { Metadata, status } from '@grpc/grpc-js';
import { describe, expect, test } from '@jest/globals';
import { ServiceError } from '@temporalio/client';
import { failureOf } from '../../contract/failures.ts';
import { isAbsence, withoutTemporal } from './temporal-connection.ts';

/** As the SDK throws it: what gRPC has said is the cause. */
const said = (code: status, words = 'not now'): Error =>
  new ServiceError('Update-with-Start could not be executed', {
    cause: Object.assign(new Error(words), { code, details: words, metadata: new Metadata() }),
  });

describe('isAbsence()', () => {
  test.each([status.UNAVAILABLE, status.DEADLINE_EXCEEDED, status.RESOURCE_EXHAUSTED, status.FAILED_PRECONDITION])(
    'is true of code %d, with which Temporal says that it cannot do it now',
    (code) => expect(isAbsence(said(code))).toBe(true),
  );

  test.each([status.INVALID_ARGUMENT, status.ALREADY_EXISTS, status.INTERNAL])(
    'is false of code %d, which a later try does not change',
    (code) => expect(isAbsence(said(code))).toBe(false),
  );

  test('is false of what gRPC has not said', () => expect(isAbsence(new Error('out of memory'))).toBe(false));
});

describe('withoutTemporal()', () => {
  test.each([
    // With SQL, and with Elasticsearch.
    'Namespace default has no mapping defined for search attribute MountPod',
    'search attribute MountPod is not defined',
  ])('makes TemporalUnavailable of "%s"', (words) => {
    const failure = failureOf(withoutTemporal(said(status.INVALID_ARGUMENT, words), 'nothing was begun'));
    expect(failure?.type).toBe('TemporalUnavailable');
  });

  test('passes on what a later try does not change', () => {
    const err = said(status.INVALID_ARGUMENT, 'search attribute MountUser value size 4096 exceeds size limit 2048');
    expect(withoutTemporal(err, 'nothing was begun')).toBe(err);
  });
});
