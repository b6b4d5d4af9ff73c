import { CLASS, classOf, type Instruction, isJump, JUMP, operationOf, type Program } from './instruction.ts';

/** Consecutive instructions of an old program and what stands for them in the new one. */
export interface Piece {
  /** How many instructions of the old program this piece replaces. */
  readonly replaces: number;
  readonly by: readonly Instruction[];
  /** True when jumps inside `by` were written for the new program and stay as they are. */
  readonly relocated: boolean;
}

/** A program that cannot be understood or changed safely. Not a failure of its own: the caller has a way round or refuses. */
export class ProgramError extends Error {
  override readonly name = 'ProgramError';
}

/**
 * Puts the pieces together and sets every kept jump to where its target is now. The last instruction of a piece with
 * `relocated: false` is the one whose `off` counts. Throws `ProgramError` when a jump leads into the middle of a piece.
 */
export function assemble(pieces: readonly Piece[]): Program {
  const newIndexOf = new Map<number, number>();
  let oldLength = 0;
  let newLength = 0;
  for (const { replaces, by } of pieces) {
    newIndexOf.set(oldLength, newLength);
    oldLength += replaces;
    newLength += by.length;
  }
  const program: Instruction[] = [];
  let oldEnd = 0;
  for (const { replaces, by, relocated } of pieces) {
    oldEnd += replaces;
    for (const instruction of by) {
      program.push(relocated ? instruction : retarget(instruction, oldEnd, program.length, newIndexOf));
    }
  }
  return program;
}

function retarget(
  instruction: Instruction,
  oldEnd: number,
  newIndex: number,
  newIndexOf: ReadonlyMap<number, number>,
): Instruction {
  if (!isJump(instruction)) return instruction;
  if (classOf(instruction) === CLASS.JMP32 && operationOf(instruction) === JUMP.JA) {
    throw new ProgramError('Cannot change a program: long jumps are not known');
  }
  const target = newIndexOf.get(oldEnd + instruction.off);
  if (target === undefined) {
    throw new ProgramError(
      `Cannot change a program: a jump leads to ${oldEnd + instruction.off}, inside a changed part`,
    );
  }
  return { ...instruction, off: target - newIndex - 1 };
}

/** An instruction that stays as it is, but for its jump distance. */
export const keep = (instruction: Instruction): Piece => ({ replaces: 1, by: [instruction], relocated: false });
