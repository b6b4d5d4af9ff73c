import {
  ALU,
  CLASS,
  classOf,
  FROM_REGISTER,
  type Instruction,
  isJumpClass,
  operationOf,
  type Program,
} from './instruction.ts';
import { assemble, keep, type Piece, ProgramError } from './rewrite.ts';

/** Register AX, which only the kernel's own rewriting uses. */
const AX = 11;

/** More zeroing instructions than this are all read in one way; each could be any of three. */
const MAX_MIXED = 4;

/**
 * The programs a dump can have been made from, likeliest first: itself, and what constant blinding made it of
 * (net.core.bpf_jit_harden=2; bpf_jit_blind_insn() in kernel/bpf/core.c). Blinding makes an operation with a constant into
 * `ax = a; ax ^= b; op dst, ax`, and a move of 0, of 32 or 64 bits, into `dst ^= dst`, which a program may also have had
 * itself; so each is a guess until its tag is compared with the loaded program's. Throws `ProgramError` on any other use
 * of register AX.
 */
export function originalsOf(dump: Program): readonly Program[] {
  const zeroings = dump.filter(isZeroing).length;
  if (zeroings === 0) return dump.some(usesAx) ? [unblind(dump, [])] : [dump];
  const uniform = READINGS.map((reading) => Array.from({ length: zeroings }, () => reading));
  const mixed = zeroings > 1 && zeroings <= MAX_MIXED ? combinations(zeroings) : [];
  const guesses = [...uniform, ...mixed].map((readings) => unblind(dump, readings));
  return dump.some(usesAx) ? guesses : [dump, ...guesses];
}

/** What a `dst ^= dst` was: a move of 0 in 64 or 32 bits, or itself. */
const READINGS = [CLASS.ALU64, CLASS.ALU, 'itself'] as const;
type Reading = (typeof READINGS)[number];

function combinations(count: number): readonly (readonly Reading[])[] {
  if (count === 0) return [[]];
  return combinations(count - 1).flatMap((rest) => READINGS.map((reading) => [...rest, reading]));
}

function unblind(program: Program, readings: readonly Reading[]): Program {
  const pieces: Piece[] = [];
  const left = [...readings];
  for (let at = 0; at < program.length; ) {
    const piece = pieceAt(program, at, left);
    pieces.push(piece);
    at += piece.replaces;
  }
  return assemble(pieces);
}

const usesAx = ({ dst, src }: Instruction): boolean => dst === AX || src === AX;

function pieceAt(program: Program, at: number, readings: Reading[]): Piece {
  const [first, second, third] = program.slice(at, at + 3);
  if (first === undefined) throw new ProgramError('Cannot unblind a program: it ends too early');
  if (!usesAx(first)) return isZeroing(first) ? zeroing(first, readings.shift() ?? 'itself') : keep(first);
  if (second === undefined || third === undefined || !isLoadOfAx(first) || !isXorOfAx(second, first)) {
    throw new ProgramError(`Cannot unblind a program: the pattern at ${at} is not known`);
  }
  return { replaces: 3, by: [withConstant(third, first.imm ^ second.imm, at)], relocated: false };
}

const isZeroing = ({ code, dst, src }: Instruction): boolean =>
  code === (CLASS.ALU64 | ALU.XOR | FROM_REGISTER) && dst === src;

const zeroing = (instruction: Instruction, reading: Reading): Piece =>
  reading === 'itself'
    ? keep(instruction)
    : {
        replaces: 1,
        by: [{ code: reading | ALU.MOV, dst: instruction.dst, src: 0, off: 0, imm: 0 }],
        relocated: true,
      };

const isAlu = (instruction: Instruction): boolean =>
  classOf(instruction) === CLASS.ALU || classOf(instruction) === CLASS.ALU64;

const isLoadOfAx = (instruction: Instruction): boolean =>
  isAlu(instruction) &&
  operationOf(instruction) === ALU.MOV &&
  (instruction.code & FROM_REGISTER) === 0 &&
  instruction.dst === AX;

const isXorOfAx = (instruction: Instruction, load: Instruction): boolean =>
  instruction.code === (classOf(load) | ALU.XOR) && instruction.dst === AX;

function withConstant(instruction: Instruction, imm: number, at: number): Instruction {
  const fromAx = (isAlu(instruction) || isJumpClass(instruction)) && (instruction.code & FROM_REGISTER) !== 0;
  if (!fromAx || instruction.src !== AX || instruction.dst === AX) {
    throw new ProgramError(`Cannot unblind a program: the pattern at ${at} is not known`);
  }
  return { ...instruction, code: instruction.code & ~FROM_REGISTER, src: 0, imm };
}
