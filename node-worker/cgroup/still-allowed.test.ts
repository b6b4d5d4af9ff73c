import { describe, expect, test } from '@jest/globals';
import { stillAllowed } from './still-allowed.ts';

const FUSE = { type: 'c', major: 10, minor: 229 } as const;
const given = (access: string, accessBefore: string) => ({ ...FUSE, access, accessBefore });
const KEY = 'c 10:229';

describe('stillAllowed()', () => {
  test.each([
    ['that it could not open', [given('rw', '')], [], []],
    ['of which it could only make nodes', [given('rwm', 'm')], [], []],
    ['that it had by itself', [given('rw', 'rwm')], [], [KEY]],
    ['that it had by itself but for making nodes', [given('rwm', 'rw')], [], [KEY]],
    ['that it could only read', [given('rw', 'r')], [], []],
    ['that it could read, of which it was given no more', [given('r', 'r')], [], [KEY]],
    ['that another has too', [given('rw', '')], [{ ...FUSE, access: 'rw' }], [KEY]],
    ['that it has half by itself and half by another', [given('rw', 'r')], [{ ...FUSE, access: 'w' }], [KEY]],
    ['of which another may only read', [given('rw', '')], [{ ...FUSE, access: 'r' }], []],
    ['beside one that another has', [given('rw', '')], [{ ...FUSE, minor: 1, access: 'rw' }], []],
    ['that is taken twice, once with more', [given('r', 'r'), given('rw', 'r')], [], []],
  ])('of a device %s', (_name, taken, kept, allowed) => {
    expect(stillAllowed(taken, kept)).toEqual(allowed);
  });
});
