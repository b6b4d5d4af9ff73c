import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { findSection, sectionOf, withRules } from './filter.ts';
import { ALU, CLASS, encode, type Instruction, JUMP, type Program } from './instruction.ts';
import { allows } from './interpreter.ts';
import { accessBits, accessLetters, type DeviceRule, mergeRules } from './rule.ts';

const op = (code: number, dst: number, src: number, off: number, imm: number): Instruction => ({
  code,
  dst,
  src,
  off,
  imm,
});
const exit = op(CLASS.JMP | JUMP.EXIT, 0, 0, 0, 0);
const answer = (allowed: 0 | 1): Program => [op(CLASS.ALU | ALU.MOV, 0, 0, 0, allowed), exit];
const DENY_ALL = answer(0);
const ALLOW_ALL = answer(1);

const device = fc.record({
  type: fc.constantFrom('c' as const, 'b' as const),
  // Few values, so that rules and requests meet, and the largest ones the kernel has.
  major: fc.constantFrom(1, 10, 195, 4095),
  minor: fc.constantFrom(0, 5, 229, 1_048_575),
});
const rule = fc
  .tuple(device, fc.integer({ min: 1, max: 7 }))
  .map(([one, bits]) => ({ ...one, access: accessLetters(bits) }));
const rules = fc.array(rule, { maxLength: 12 });
const someRules = fc.array(rule, { minLength: 1, maxLength: 12 });

/** What rules mean, said without a program. */
function meant(
  all: readonly DeviceRule[],
  request: { type: string; major: number; minor: number; access: number },
): boolean {
  return mergeRules(all).some(
    ({ type, major, minor, access }) =>
      type === request.type &&
      major === request.major &&
      minor === request.minor &&
      (request.access & ~accessBits(access)) === 0,
  );
}

/** Another program in front: refuses major 10 by a jump over everything to the last two instructions. */
const foreign = (program: Program): Program => [
  op(CLASS.LDX | 0x60, 2, 1, 4, 0),
  op(CLASS.JMP | JUMP.JEQ, 2, 0, program.length - 2, 10),
  ...program,
];

describe('sectionOf()', () => {
  test('compiles rules to the listing of record', () => {
    const listing = sectionOf([
      { type: 'c', major: 10, minor: 229, access: 'rw' },
      { type: 'b', major: 7, minor: 0, access: 'rwm' },
    ]).map((one) => encode([one]).toString('hex'));
    expect(listing).toMatchInlineSnapshot(`
[
  "6112000000000000",
  "54020000ffff0000",
  "6113000000000000",
  "7403000010000000",
  "6114040000000000",
  "6115080000000000",
  "5502040001000000",
  "5504030007000000",
  "5505020000000000",
  "b400000001000000",
  "9500000000000000",
  "5502050002000000",
  "550404000a000000",
  "55050300e5000000",
  "4503020001000000",
  "b400000001000000",
  "9500000000000000",
  "b40000006e6d7664",
  "b400000031307674",
]
`);
  });

  test('is empty for no rules', () => {
    expect(sectionOf([{ type: 'c', major: 1, minor: 3, access: '' }])).toEqual([]);
  });
});

describe('withRules()', () => {
  test('allows exactly the rules in front of a program that refuses all', () => {
    fc.assert(
      fc.property(rules, device, fc.integer({ min: 0, max: 7 }), (all, one, access) => {
        const request = { ...one, access };
        expect(allows(withRules(DENY_ALL, all), request)).toBe(meant(all, request));
      }),
    );
  });

  test('leaves the answer of the original for everything else', () => {
    fc.assert(
      fc.property(rules, device, (all, one) => {
        expect(allows(withRules(ALLOW_ALL, all), { ...one, access: 7 })).toBe(true);
      }),
    );
  });

  test('replaces its own part and restores the original exactly', () => {
    fc.assert(
      fc.property(rules, rules, (first, second) => {
        const wrapped = withRules(DENY_ALL, first);
        expect(withRules(wrapped, second)).toEqual(withRules(DENY_ALL, second));
        expect(withRules(wrapped, [])).toEqual(DENY_ALL);
      }),
    );
  });

  test("finds its part behind the block of another program and moves that block's jumps", () => {
    fc.assert(
      fc.property(someRules, rules, device, fc.integer({ min: 0, max: 7 }), (first, second, one, access) => {
        const inner = withRules([...ALLOW_ALL, ...DENY_ALL], first);
        const changed = withRules(foreign(inner), second);
        const direct = foreign(withRules([...ALLOW_ALL, ...DENY_ALL], second));
        expect(changed).toEqual(direct);
        expect(allows(changed, { ...one, access })).toBe(one.major !== 10);
      }),
    );
  });

  test('refuses to change a program that jumps into its part', () => {
    const wrapped = withRules(DENY_ALL, [{ type: 'c', major: 1, minor: 3, access: 'r' }]);
    const hostile = [op(CLASS.JMP | JUMP.JA, 0, 0, 2, 0), ...wrapped];
    expect(() => withRules(hostile, [])).toThrow('inside a changed part');
  });
});

describe('findSection()', () => {
  test('reads back the merged rules', () => {
    fc.assert(
      fc.property(rules, (all) => {
        expect(findSection(withRules(DENY_ALL, all))?.rules ?? []).toEqual(mergeRules(all));
      }),
    );
  });

  test.each([
    ['no marker', (program: Program) => program.slice(0, 11)],
    ['a block that is not ours', (program: Program) => program.with(6, op(CLASS.JMP | JUMP.JEQ, 2, 0, 4, 2))],
    ['no prelude', (program: Program) => program.slice(1)],
  ])('finds nothing in a program with %s', (_, spoil) => {
    expect(findSection(spoil(sectionOf([{ type: 'c', major: 1, minor: 3, access: 'rwm' }])))).toBeUndefined();
  });
});
