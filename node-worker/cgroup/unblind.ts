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

/**
 * The programs a dump can have been made from, likeliest first: itself, and what constant blinding made it of
 * (net.core.bpf_jit_harden=2; bpf_jit_blind_insn() in kernel/bpf/core.c). Blinding makes an operation with a constant into
 * `ax = a; ax ^= b; op dst, ax`, and a move of 0 into `dst ^= dst`, which a program may also have had itself; so each is
 * a guess until its tag is compared with the loaded program's. Throws `ProgramError` on any other use of register AX.
 */
export function originalsOf(dump: Program): readonly Program[] {
  if (dump.some(usesAx)) return [unblind(dump)];
  return dump.some(isZeroing) ? [dump, unblind(dump)] : [dump];
}

function unblind(program: Program): Program {
  const pieces: Piece[] = [];
  for (let at = 0; at < program.length; ) {
    const piece = pieceAt(program, at);
    pieces.push(piece);
    at += piece.replaces;
  }
  return assemble(pieces);
}

const usesAx = ({ dst, src }: Instruction): boolean => dst === AX || src === AX;

function pieceAt(program: Program, at: number): Piece {
  const [first, second, third] = program.slice(at, at + 3);
  if (first === undefined) throw new ProgramError('Cannot unblind a program: it ends too early');
  if (!usesAx(first)) return isZeroing(first) ? zeroing(first) : keep(first);
  if (second === undefined || third === undefined || !isLoadOfAx(first) || !isXorOfAx(second, first)) {
    throw new ProgramError(`Cannot unblind a program: the pattern at ${at} is not known`);
  }
  return { replaces: 3, by: [withConstant(third, first.imm ^ second.imm, at)], relocated: false };
}

const isZeroing = (instruction: Instruction): boolean =>
  operationOf(instruction) === ALU.XOR &&
  !isJumpClass(instruction) &&
  isAluFromRegister(instruction) &&
  instruction.dst === instruction.src;

const zeroing = (instruction: Instruction): Piece => ({
  replaces: 1,
  by: [{ code: classOf(instruction) | ALU.MOV, dst: instruction.dst, src: 0, off: 0, imm: 0 }],
  relocated: true,
});

const isAlu = (instruction: Instruction): boolean =>
  classOf(instruction) === CLASS.ALU || classOf(instruction) === CLASS.ALU64;

const isAluFromRegister = (instruction: Instruction): boolean =>
  isAlu(instruction) && (instruction.code & FROM_REGISTER) !== 0;

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
