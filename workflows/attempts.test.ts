import { describe, expect, test } from '@jest/globals';
import type { Attempt } from '../contract/workflows.ts';
import { Attempts } from './attempts.ts';

const MINUTE_MS = 60_000;
const mount = { namespace: 'apps', mount: 'm' };

/** The passes, from 1, that try what each of `count` finds, so many minutes apart. */
function tried(count: number, minutes: number): readonly number[] {
  let before: readonly Attempt[] = [];
  return Array.from({ length: count }, (_, index) => index + 1).filter((pass) => {
    const attempts = new Attempts(before, []);
    const waits = attempts.found(mount, pass * minutes * MINUTE_MS);
    before = attempts.now;
    return waits === undefined;
  });
}

describe('Attempts', () => {
  test.each([
    ['ever more seldom, but once an hour', 200, 1, [1, 2, 4, 8, 16, 32, 64, 124, 128, 188]],
    ['in each pass where they are an hour apart', 5, 60, [1, 2, 3, 4, 5]],
  ])('tries %s', (_, count, minutes, expected) => {
    expect(tried(count, minutes)).toEqual(expected);
  });

  test('begins anew after a pass that has not found it', () => {
    const before = [{ ...mount, passes: 2, triedAtMs: 0 }];
    const waiting = new Attempts(before, []).found(mount, MINUTE_MS);
    expect(waiting).toBe(
      'waits after trying in vain: pass 3 in a row finds it, pass 4 tries again, or the first an hour after the last try',
    );
    const without = new Attempts(before, []);
    without.found({ ...mount, mount: 'other' }, MINUTE_MS);
    expect(without.now).toEqual([{ ...mount, mount: 'other', passes: 1, triedAtMs: MINUTE_MS }]);
    expect(new Attempts(without.now, []).found(mount, MINUTE_MS)).toBeUndefined();
  });

  test('goes on in a new run of the same pass, and remembers no more than fits into a report', () => {
    const first = new Attempts([{ ...mount, passes: 4, triedAtMs: 0 }], []);
    first.found(mount, MINUTE_MS);
    const second = new Attempts(first.before, first.now);
    for (let index = 0; index < 3_000; index++) second.found({ ...mount, mount: `m-${index}` }, MINUTE_MS);
    expect(second.now[0]).toEqual({ ...mount, passes: 5, triedAtMs: 0 });
    expect(second.now).toHaveLength(1_500);
  });
});
