import { describe, expect, test } from '@jest/globals';
import { ALU, CLASS, FROM_REGISTER, type Instruction, JUMP, type Program } from './instruction.ts';
import { allows } from './interpreter.ts';

const op = (code: number, dst: number, src: number, off: number, imm: number): Instruction => ({
  code,
  dst,
  src,
  off,
  imm,
});
const exit = op(CLASS.JMP | JUMP.EXIT, 0, 0, 0, 0);
const ALU64 = CLASS.ALU64;
const NULL = { type: 'c', major: 1, minor: 3, access: 2 } as const;

/** Puts r0 = 1 when r2 is `imm`, after `body`. */
const leaves = (body: Program, imm: number): Program => [
  ...body,
  op(ALU64 | ALU.MOV, 0, 0, 0, 0),
  op(CLASS.JMP | JUMP.JNE, 2, 0, 1, imm),
  op(ALU64 | ALU.MOV, 0, 0, 0, 1),
  exit,
];
const set = (register: number, imm: number): Instruction => op(ALU64 | ALU.MOV, register, 0, 0, imm);

describe('allows()', () => {
  test.each([
    ['a word', [op(CLASS.LDX | 0x60, 2, 1, 0, 0)], 0x20002],
    ['a half word', [op(CLASS.LDX | 0x68, 2, 1, 2, 0)], 2],
    ['a byte', [op(CLASS.LDX | 0x70, 2, 1, 4, 0)], 1],
    ['add', [set(2, 5), op(ALU64 | ALU.ADD, 2, 0, 0, -7)], -2],
    ['sub', [set(2, 5), op(ALU64 | ALU.SUB, 2, 0, 0, 7)], -2],
    ['mul', [set(2, -3), op(ALU64 | ALU.MUL, 2, 0, 0, 7)], -21],
    ['div', [set(2, 21), op(ALU64 | ALU.DIV, 2, 0, 0, 4)], 5],
    ['div by zero', [set(2, 21), op(ALU64 | ALU.DIV, 2, 0, 0, 0)], 0],
    ['mod', [set(2, 21), op(ALU64 | ALU.MOD, 2, 0, 0, 4)], 1],
    ['mod by zero', [set(2, 21), op(ALU64 | ALU.MOD, 2, 0, 0, 0)], 21],
    ['or', [set(2, 5), op(ALU64 | ALU.OR, 2, 0, 0, 2)], 7],
    ['and', [set(2, 5), op(ALU64 | ALU.AND, 2, 0, 0, 4)], 4],
    ['xor', [set(2, 5), op(ALU64 | ALU.XOR, 2, 0, 0, 1)], 4],
    ['left shift', [set(2, 5), op(ALU64 | ALU.LSH, 2, 0, 0, 2)], 20],
    ['right shift of 32 bits', [set(2, -1), op(CLASS.ALU | ALU.RSH, 2, 0, 0, 16)], 0xffff],
    ['arithmetic right shift', [set(2, -8), op(ALU64 | ALU.ARSH, 2, 0, 0, 1)], -4],
    ['neg', [set(2, 8), op(ALU64 | ALU.NEG, 2, 0, 0, 0)], -8],
    ['a move from a register', [set(3, 9), op(ALU64 | ALU.MOV | FROM_REGISTER, 2, 3, 0, 0)], 9],
    ['32 bits, which clear the upper half', [set(2, -1), op(CLASS.ALU | ALU.ADD, 2, 0, 0, 2)], 1],
  ])('computes %s', (_, body, result) => {
    expect(allows(leaves(body, result), NULL)).toBe(true);
  });

  test.each([
    [JUMP.JA, 0, 0, true],
    [JUMP.JEQ, 5, 5, true],
    [JUMP.JEQ, 5, 6, false],
    [JUMP.JNE, 5, 6, true],
    [JUMP.JSET, 6, 2, true],
    [JUMP.JSET, 4, 3, false],
    [JUMP.JGT, -1, 5, true],
    [JUMP.JGE, 5, 5, true],
    [JUMP.JLT, 5, -1, true],
    [JUMP.JLE, 6, 5, false],
    [JUMP.JSGT, -1, 5, false],
    [JUMP.JSGE, 5, 5, true],
    [JUMP.JSLT, -1, 5, true],
    [JUMP.JSLE, 6, 5, false],
  ])('jumps by operation 0x%s of %i and %i: %s', (operation, a, b, taken) => {
    const program = (kind: number): Program => [
      set(2, a),
      set(0, 1),
      op(kind | operation, 2, 0, 1, b),
      set(0, 0),
      exit,
    ];
    expect(allows(program(CLASS.JMP), NULL)).toBe(taken);
    if (operation !== JUMP.JA) expect(allows(program(CLASS.JMP32), NULL)).toBe(taken);
  });

  test.each([
    ['a helper call', [op(CLASS.JMP | JUMP.CALL, 0, 0, 0, 1), exit], 'instruction 0x85'],
    ['a load beyond the context', [op(CLASS.LDX | 0x60, 2, 1, 12, 0), exit], 'instruction 0x61'],
    ['a 64-bit constant', [op(0x18, 2, 1, 0, 0), exit], 'instruction 0x18'],
    ['no exit', [set(0, 1)], 'leaves its end'],
    ['an endless loop', [op(CLASS.JMP | JUMP.JA, 0, 0, -1, 0)], 'more than 1000000 steps'],
  ])('refuses %s', (_, program, reason) => {
    expect(() => allows(program, NULL)).toThrow(reason);
  });
});
