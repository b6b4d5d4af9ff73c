import { expect, test } from '@jest/globals';
import { patienceOf } from './patience.ts';

test.each([
  [0, undefined, 0, { mountedMs: 0, shownMs: 5_000 }],
  [0, 4_000, 0, { mountedMs: 0, shownMs: 2_000 }],
  [0, 4_000, 1_500, { mountedMs: 0, shownMs: 500 }],
  [30, undefined, 0, { mountedMs: 40_000, shownMs: 1_000 }],
  [30, 2_000, 0, { mountedMs: 1_000, shownMs: 250 }],
  [300, 15_000, 0, { mountedMs: 10_000, shownMs: 1_000 }],
  [300, 15_000, 12_000, { mountedMs: 0, shownMs: 0 }],
])(
  'patienceOf() wait_second=%s of a client that waits %s ms, after %s ms',
  (seconds, timeoutMs, elapsedMs, expected) => {
    expect(patienceOf(seconds, timeoutMs, elapsedMs)).toEqual(expected);
  },
);
