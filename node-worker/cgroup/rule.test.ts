import { describe, expect, test } from '@jest/globals';
import { accessBits, accessLetters, deviceKey, mergeRules } from './rule.ts';

test.each([
  ['rwm', 7],
  ['mr', 3],
  ['w', 4],
  ['', 0],
])('accessBits() reads %j as %i, and accessLetters() writes it in order', (access, bits) => {
  expect(accessBits(access)).toBe(bits);
  expect([...accessLetters(bits)].sort()).toEqual([...access].sort());
});

test('accessBits() refuses another letter', () => {
  expect(() => accessBits('rx')).toThrow('Cannot read access "rx"');
});

describe('mergeRules()', () => {
  test('gives one sorted rule per device', () => {
    const merged = mergeRules([
      { type: 'c', major: 10, minor: 229, access: 'w' },
      { type: 'b', major: 7, minor: 0, access: 'r' },
      { type: 'c', major: 10, minor: 229, access: 'rm' },
      { type: 'c', major: 1, minor: 5, access: '' },
    ]);
    expect(merged.map((rule) => `${deviceKey(rule)} ${rule.access}`)).toEqual(['b 7:0 r', 'c 10:229 rwm']);
  });
});
