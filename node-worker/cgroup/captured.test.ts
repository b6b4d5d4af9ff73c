import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { findSection, withRules } from './filter.ts';
import { decode, encode, type Program } from './instruction.ts';
import { allows } from './interpreter.ts';
import { accessBits, accessLetters, type DeviceRule } from './rule.ts';
import { runtimePrograms, USUAL_SPECS } from './runtime-program.ts';
import { systemdPrograms } from './systemd-program.ts';
import { originalsOf } from './unblind.ts';

/** Dumps of programs as these made them on Linux 6.18, also with net.core.bpf_jit_harden=2. */
const CAPTURED = ['runc-1.4.3', 'runc-1.4.3-privileged', 'crun-1.8.1', 'systemd-252'] as const;

function captured(name: (typeof CAPTURED)[number], blinded: '' | '-blinded'): Program {
  const file = new URL(`./fixtures/${name}-linux-6.18${blinded}.hex`, import.meta.url);
  return decode(Buffer.from(readFileSync(file, 'latin1').replaceAll('\n', ''), 'hex'));
}

const device = fc.record({
  type: fc.constantFrom('c' as const, 'b' as const),
  major: fc.constantFrom(1, 5, 10, 136, 195, 226),
  minor: fc.constantFrom(0, 2, 3, 5, 7, 8, 9, 200, 229),
});
const access = fc.integer({ min: 1, max: 7 });
const rules = fc.array(
  fc.tuple(device, access).map(([one, bits]): DeviceRule => ({ ...one, access: accessLetters(bits) })),
  { maxLength: 12 },
);

describe.each(CAPTURED)('the program of %s', (name) => {
  const program = captured(name, '');
  const blinded = captured(name, '-blinded');

  test('is encoded as it was read', () => {
    expect(decode(encode(program))).toEqual(program);
    expect(findSection(program)).toBeUndefined();
  });

  test('is the same again after any rules were put in and taken out', () => {
    fc.assert(
      fc.property(rules, rules, (first, second) => {
        expect(withRules(withRules(withRules(program, first), second), [])).toEqual(program);
      }),
    );
  });

  test('is among the programs its blinded dump can come from', () => {
    expect(originalsOf(blinded)).toContainEqual(program);
  });

  test('answers as its blinded dump does', () => {
    fc.assert(
      fc.property(device, access, (one, bits) => {
        const request = { ...one, access: bits };
        expect(allows(blinded, request)).toBe(allows(program, request));
      }),
    );
  });

  test('allows with rules what it allows itself, and what they say', () => {
    fc.assert(
      fc.property(rules, device, access, (all, one, bits) => {
        const request = { ...one, access: bits };
        const byRules = all
          .filter(({ type, major, minor }) => type === one.type && major === one.major && minor === one.minor)
          .reduce((sum, rule) => sum | accessBits(rule.access), 0);
        expect(allows(withRules(program, all), request)).toBe(allows(program, request) || (bits & ~byRules) === 0);
      }),
    );
  });
});

test.each(['runc-1.4.3', 'runc-1.4.3-privileged', 'crun-1.8.1'] as const)(
  'runtimePrograms() has the program of %s, so that its tag is known',
  (name) => {
    expect(USUAL_SPECS.flatMap(runtimePrograms)).toContainEqual(captured(name, ''));
  },
);

test('systemdPrograms() has the program that systemd made for a scope of runc, so that its tag is known', () => {
  expect(USUAL_SPECS.flatMap(systemdPrograms)).toContainEqual(captured('systemd-252', ''));
});
