/** One eBPF instruction (Documentation/bpf/standardization/instruction-set.rst). */
export interface Instruction {
  readonly code: number;
  readonly dst: number;
  readonly src: number;
  /** Signed 16 bits; for a jump, counted from the next instruction. */
  readonly off: number;
  /** Signed 32 bits. */
  readonly imm: number;
}

export type Program = readonly Instruction[];

const INSTRUCTION_BYTES = 8;

/** Instruction classes: the low three bits of `code`. */
export const CLASS = { LD: 0, LDX: 1, ST: 2, STX: 3, ALU: 4, JMP: 5, JMP32: 6, ALU64: 7 } as const;
/** Jump operations: the high four bits of `code`, classes JMP and JMP32. */
export const JUMP = {
  JA: 0x00,
  JEQ: 0x10,
  JGT: 0x20,
  JGE: 0x30,
  JSET: 0x40,
  JNE: 0x50,
  JSGT: 0x60,
  JSGE: 0x70,
  CALL: 0x80,
  EXIT: 0x90,
  JLT: 0xa0,
  JLE: 0xb0,
  JSLT: 0xc0,
  JSLE: 0xd0,
} as const;
/** Arithmetic operations: the high four bits of `code`, classes ALU and ALU64. */
export const ALU = {
  ADD: 0x00,
  SUB: 0x10,
  MUL: 0x20,
  DIV: 0x30,
  OR: 0x40,
  AND: 0x50,
  LSH: 0x60,
  RSH: 0x70,
  NEG: 0x80,
  MOD: 0x90,
  XOR: 0xa0,
  MOV: 0xb0,
  ARSH: 0xc0,
} as const;
/** Set in `code` of ALU and JMP classes when the operand is the register `src` instead of `imm`. */
export const FROM_REGISTER = 0x08;

export const classOf = (instruction: Instruction): number => instruction.code & 0x07;
export const operationOf = (instruction: Instruction): number => instruction.code & 0xf0;

export function isJumpClass(instruction: Instruction): boolean {
  return classOf(instruction) === CLASS.JMP || classOf(instruction) === CLASS.JMP32;
}

/** Whether `off` is the distance to another instruction. */
export function isJump(instruction: Instruction): boolean {
  const operation = operationOf(instruction);
  return isJumpClass(instruction) && operation !== JUMP.CALL && operation !== JUMP.EXIT;
}

/** Bytes of a program as bpf(2) takes and gives them on a little-endian machine. */
export function encode(program: Program): Buffer {
  // Not from the pool: the address of this memory is handed to the kernel.
  const bytes = Buffer.allocUnsafeSlow(Math.max(program.length * INSTRUCTION_BYTES, 128)).fill(0);
  program.forEach(({ code, dst, src, off, imm }, index) => {
    const at = index * INSTRUCTION_BYTES;
    bytes.writeUInt8(code, at);
    bytes.writeUInt8((src << 4) | dst, at + 1);
    bytes.writeInt16LE(off, at + 2);
    bytes.writeInt32LE(imm, at + 4);
  });
  return bytes.subarray(0, program.length * INSTRUCTION_BYTES);
}

/** The inverse of `encode`. Throws RangeError when `bytes` is not a whole number of instructions. */
export function decode(bytes: Buffer): Program {
  if (bytes.length % INSTRUCTION_BYTES !== 0) {
    throw new RangeError(`Cannot decode a program: length must be a multiple of 8, is ${bytes.length}`);
  }
  return Array.from({ length: bytes.length / INSTRUCTION_BYTES }, (_, index) => {
    const at = index * INSTRUCTION_BYTES;
    const registers = bytes.readUInt8(at + 1);
    return {
      code: bytes.readUInt8(at),
      dst: registers & 0x0f,
      src: registers >> 4,
      off: bytes.readInt16LE(at + 2),
      imm: bytes.readInt32LE(at + 4),
    };
  });
}

export function sameProgram(a: Program, b: Program): boolean {
  return a.length === b.length && encode(a).equals(encode(b));
}
