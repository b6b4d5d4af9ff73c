import { describe, expect, test } from '@jest/globals';
import { array, assert, constantFrom, oneof, property, string } from 'fast-check';
import { failureOf } from '../../contract/failures.ts';
import { RUNS } from '../../test/property-runs.ts';
import { wordOf } from './words.ts';

const KEY = 'x.io/assigned';
const FORM = { pattern: /^x-\d+(?:,x-\d+)*/, what: 'devices such as "x-0,x-1"' };
const ask = (words: Readonly<Record<string, string>>) =>
  wordOf({ slave: { namespace: 'd', name: 's1', uid: 'u' }, allocations: [], words }, KEY, FORM)?.[0];

describe('wordOf()', () => {
  test.each([
    ['is absent', {}, undefined],
    ['has the form', { [KEY]: 'x-0,x-12' }, 'x-0,x-12'],
  ])('answers a word that %s', (_name, words, answer) => {
    expect(ask(words)).toBe(answer);
  });

  test.each([
    ['has another form', 'y', 'is "y"'],
    ['is empty', '', 'is ""'],
    ['has the form in one of its lines only', 'x-0\n', 'is "x-0\\n"'],
    ['is longer than any', `${'x-0,'.repeat(5_000)}x-1`, `is "${'x-0,'.repeat(25)}…"`],
  ])('refuses a word that %s', (_name, value, end) => {
    const message = `Cannot attach what "s1" has: its "${KEY}" must be devices such as "x-0,x-1", ${end}`;
    expect(() => ask({ [KEY]: value })).toThrow(message);
  });

  test('takes no key for one that every object has', () => {
    expect(() =>
      wordOf({ slave: { namespace: 'd', name: 's', uid: 'u' }, allocations: [] }, 'toString', FORM),
    ).not.toThrow();
  });

  test('answers what has the form, or says in one line what is wrong, whatever somebody has written', () => {
    const almost = array(constantFrom('x-', '0', ',', '\n'), { maxLength: 9 }).map((parts) => parts.join(''));
    const value = oneof(
      almost,
      string({ maxLength: 300, unit: 'binary' }),
      string({ maxLength: 30, unit: 'grapheme' }),
    );
    assert(
      property(value, (text) => {
        try {
          expect(ask({ [KEY]: text })).toBe(text);
        } catch (err) {
          const { type, message = '' } = failureOf(err) ?? {};
          expect(type).toBe('NotAllocated');
          expect(message).toMatch(/^Cannot [^\n]{10,900}$/);
        }
      }),
      { numRuns: RUNS },
    );
  });
});
