import { describe, expect, test } from '@jest/globals';
import { isKeyFree } from './key-claims.ts';
import { type Earlier, REMEMBERED_MS } from './repeat.ts';

const now = new Date('2026-01-01T12:00:00Z');
const ago = (ms: number) => new Date(now.getTime() - ms);
const ended = (endedAt: Date | undefined) => ({ endedAt }) as Earlier;
const LONG_AGO = ago(REMEMBERED_MS + 1);

describe('isKeyFree()', () => {
  test.each<[string, Date, Earlier | undefined, boolean]>([
    ['its mount lives', LONG_AGO, ended(undefined), false],
    ['its mount has just ended', LONG_AGO, ended(ago(1)), false],
    ['its mount is forgotten', LONG_AGO, ended(LONG_AGO), true],
    ['its mount may be about to begin', ago(1), undefined, false],
    ['its mount has never begun', LONG_AGO, undefined, true],
  ])('tells that a key is free or not when %s', (_name, claimedAt, earlier, free) => {
    expect(isKeyFree({ mountName: 'a', claimedAt }, earlier, now)).toBe(free);
  });
});
