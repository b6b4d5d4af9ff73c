import { ALU, CLASS, FROM_REGISTER, type Instruction, JUMP, type Program } from './instruction.ts';

/** What the device programs of runc, crun and systemd have in common. */

export const op = (code: number, dst: number, src: number, off: number, imm: number): Instruction => ({
  code,
  dst,
  src,
  off,
  imm,
});

/** r2 = device type, r3 = access, r4 = major, r5 = minor. */
export const PRELUDE: Program = [
  op(CLASS.LDX | 0x60, 2, 1, 0, 0),
  op(CLASS.ALU | ALU.AND, 2, 0, 0, 0xffff),
  op(CLASS.LDX | 0x60, 3, 1, 0, 0),
  op(CLASS.ALU | ALU.RSH, 3, 0, 0, 16),
  op(CLASS.LDX | 0x60, 4, 1, 4, 0),
  op(CLASS.LDX | 0x60, 5, 1, 8, 0),
];

/** Checks of a rule; each jumps on to the next rule, see `withJumps`. */
export const unlessType = (type: 'b' | 'c'): Instruction => op(CLASS.JMP | JUMP.JNE, 2, 0, 0, type === 'b' ? 1 : 2);
export const unlessMajor = (major: number): Instruction => op(CLASS.JMP | JUMP.JNE, 4, 0, 0, major);
export const unlessMinor = (minor: number): Instruction => op(CLASS.JMP | JUMP.JNE, 5, 0, 0, minor);
export const unlessAccess = (bits: number): Program => [
  op(CLASS.ALU | ALU.MOV | FROM_REGISTER, 1, 3, 0, 0),
  op(CLASS.ALU | ALU.AND, 1, 0, 0, bits),
  op(CLASS.JMP | JUMP.JNE | FROM_REGISTER, 1, 3, 0, 0),
];

export const isCheck = ({ code }: Instruction): boolean => (code & ~FROM_REGISTER) === (CLASS.JMP | JUMP.JNE);

/** The block of a rule, with its checks made to jump to its end. */
export function withJumps(block: Program): Program {
  return block.map((one, index) => (isCheck(one) ? { ...one, off: block.length - index - 1 } : one));
}
