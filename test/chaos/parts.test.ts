import { describe, expect, test } from '@jest/globals';
import { isClear, partsOf } from './parts.ts';

const status = (reason: string, ...causes: string[]): object => ({
  kind: 'Status',
  message: 'words',
  reason,
  details: { causes: causes.map((each) => ({ reason: each })) },
});

describe('partsOf()', () => {
  test('keeps what tells a mount', () => {
    const mount = { status: { phase: 'Mounted', leaseEndsAt: 'then', slaves: [{ name: 's' }] } };
    expect(partsOf({ status: 200, body: mount })).toEqual({
      status: 200,
      slave: 's',
      phase: 'Mounted',
      leaseEndsAt: 'then',
    });
  });

  test.each([
    [status('Timeout', 'Timeout', 'RollingBack'), { failure: 'Timeout', causes: ['RollingBack'], message: 'words' }],
    [status('Conflict', 'DeviceBusy', 'Process', 'Process'), { failure: 'DeviceBusy', causes: ['Process', 'Process'] }],
    [status('Forbidden'), { failure: 'Forbidden', causes: [] }],
    [status('ServiceUnavailable'), { message: 'words' }],
    ['404 page not found\n', { message: '404 page not found\n' }],
    [undefined, { message: 'undefined' }],
  ])('tells the failure in %j', (body, parts) => {
    expect(partsOf({ status: 503, body })).toMatchObject({ status: 503, ...parts });
  });

  test('takes the words of other servers for no failure of ours', () => {
    expect(partsOf({ status: 503, body: status('ServiceUnavailable') })).not.toHaveProperty('failure');
  });
});

test.each([
  [{ status: 200 }, true],
  [{ status: 202 }, true],
  [{ status: 409, failure: 'InsufficientDevices' }, true],
  [{ status: 404, failure: 'PodNotFound' }, true],
  [{}, false],
  [{ status: 503 }, false],
  [{ status: 404, failure: 'NotFound' }, false],
  [{ status: 403, failure: 'Forbidden' }, false],
  [{ status: 503, failure: 'TemporalUnavailable' }, false],
  [{ status: 500, failure: 'Internal' }, false],
])('isClear() of %j is %s', (call, expected) => {
  expect(isClear(call)).toBe(expected);
});
