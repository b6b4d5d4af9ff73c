import { Metadata, status } from '@grpc/grpc-js';
import { describe, expect, test } from '@jest/globals';
import { ServiceError } from '@temporalio/client';
import { isAbsence } from './temporal-connection.ts';

/** As the SDK throws it: what gRPC has said is the cause. */
const said = (code: status): Error =>
  new ServiceError('Update-with-Start could not be executed', {
    cause: Object.assign(new Error('not now'), { code, details: 'not now', metadata: new Metadata() }),
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
