import { describe, expect, test } from '@jest/globals';
import { elapsed } from './progress.ts';

describe('elapsed()', () => {
  test.each([
    [0, '0 ms'],
    [340.4, '340 ms'],
    [12_345, '12.3 s'],
    [59_940, '59.9 s'],
    [59_960, '1 min 00 s'],
    [425_000, '7 min 05 s'],
  ])('writes %p ms', (ms, text) => {
    expect(elapsed(ms)).toBe(text);
  });
});
