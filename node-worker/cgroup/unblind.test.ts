import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { withRules } from './filter.ts';
import { ALU, CLASS, FROM_REGISTER, type Instruction, isJump, isJumpClass, JUMP, type Program } from './instruction.ts';
import { allows } from './interpreter.ts';
import { assemble, type Piece } from './rewrite.ts';
import { accessLetters } from './rule.ts';
import { originalsOf } from './unblind.ts';

const AX = 11;
const op = (code: number, dst: number, src: number, off: number, imm: number): Instruction => ({
  code,
  dst,
  src,
  off,
  imm,
});
const DENY_ALL: Program = [op(CLASS.ALU | ALU.MOV, 0, 0, 0, 0), op(CLASS.JMP | JUMP.EXIT, 0, 0, 0, 0)];

/** What bpf_jit_blind_insn() does, with a given random number. */
function blind(program: Program, random: (index: number) => number): Program {
  return assemble(
    program.map(
      (instruction, index) =>
        ({ replaces: 1, by: blindOne(instruction, random(index)), relocated: false }) satisfies Piece,
    ),
  );
}

const NOT_BLINDED: readonly number[] = [ALU.LSH, ALU.RSH, ALU.ARSH, ALU.NEG];

function blindOne(instruction: Instruction, random: number): readonly Instruction[] {
  const kind = instruction.code & 7;
  const isAlu = kind === CLASS.ALU || kind === CLASS.ALU64;
  const operation = instruction.code & 0xf0;
  const constant = (instruction.code & FROM_REGISTER) === 0;
  if (isAlu && constant && operation === ALU.MOV && instruction.imm === 0) {
    return [op(CLASS.ALU64 | ALU.XOR | FROM_REGISTER, instruction.dst, instruction.dst, 0, 0)];
  }
  const blinded =
    constant && ((isAlu && !NOT_BLINDED.includes(operation)) || (isJumpClass(instruction) && isJump(instruction)));
  if (!blinded) return [instruction];
  const load = kind === CLASS.ALU || kind === CLASS.JMP32 ? CLASS.ALU : CLASS.ALU64;
  return [
    op(load | ALU.MOV, AX, 0, 0, instruction.imm ^ random),
    op(load | ALU.XOR, AX, 0, 0, random),
    { ...instruction, code: instruction.code | FROM_REGISTER, src: AX, imm: 0 },
  ];
}

const rules = fc.array(
  fc.record({
    type: fc.constantFrom('c' as const, 'b' as const),
    major: fc.nat(4095),
    minor: fc.nat(1_048_575),
    access: fc.integer({ min: 1, max: 7 }).map(accessLetters),
  }),
  { maxLength: 8 },
);

describe('originalsOf()', () => {
  test('gives back what the kernel blinded, which answers the same', () => {
    fc.assert(
      fc.property(
        rules,
        fc.array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), { minLength: 8, maxLength: 8 }),
        (all, randoms) => {
          const program = withRules(DENY_ALL, all);
          const blinded = blind(program, (index) => randoms[index % randoms.length] ?? 0);
          expect(originalsOf(blinded)).toContainEqual(program);
          const [first] = all;
          if (first !== undefined) expect(allows(blinded, { ...first, access: 0 })).toBe(true);
        },
      ),
    );
  });

  test('takes a program without register AX as it is first, also one that clears a register by xor', () => {
    const program = [op(CLASS.ALU64 | ALU.XOR | FROM_REGISTER, 0, 0, 0, 0), op(CLASS.JMP | JUMP.EXIT, 0, 0, 0, 0)];
    expect(originalsOf(program)[0]).toBe(program);
  });

  test.each([
    ['half a pattern', [op(CLASS.ALU64 | ALU.MOV, AX, 0, 0, 1)]],
    ['another use of AX', [op(CLASS.ALU64 | ALU.ADD, AX, 0, 0, 1), ...DENY_ALL]],
    [
      'a pattern that moves AX on',
      [op(CLASS.ALU64 | ALU.MOV, AX, 0, 0, 1), op(CLASS.ALU64 | ALU.XOR, AX, 0, 0, 1), op(CLASS.STX, 1, AX, 0, 0)],
    ],
  ])('refuses %s', (_, program) => {
    expect(() => originalsOf(program)).toThrow('Cannot unblind a program');
  });
});
