import {
  ALU,
  CLASS,
  classOf,
  FROM_REGISTER,
  type Instruction,
  isJumpClass,
  JUMP,
  operationOf,
  type Program,
} from './instruction.ts';
import { ProgramError } from './rewrite.ts';

/** What the kernel asks a device program: may a device of this type be accessed so? `access` is bits of r, w, m. */
export interface AccessRequest {
  readonly type: 'c' | 'b';
  readonly major: number;
  readonly minor: number;
  readonly access: number;
}

/** More steps than the verifier lets a program of this kind take on any path. */
const MAX_STEPS = 1_000_000;
const LOAD_BYTES: Readonly<Record<number, number>> = { 0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8 };
const MODE_MEM = 0x60;

/**
 * The answer of a program of type BPF_PROG_TYPE_CGROUP_DEVICE, as the kernel would give it: true allows. Throws
 * `ProgramError` on instructions outside loads from the context, arithmetic, jumps and exit (maps, helper calls).
 */
export function allows(program: Program, request: AccessRequest): boolean {
  const context = Buffer.alloc(16);
  context.writeUInt32LE(((request.access << 16) | (request.type === 'b' ? 1 : 2)) >>> 0, 0);
  context.writeUInt32LE(request.major, 4);
  context.writeUInt32LE(request.minor, 8);
  const registers = new BigUint64Array(12);
  let pc = 0;
  for (let step = 0; step < MAX_STEPS; step++) {
    const instruction = program[pc++];
    if (instruction === undefined) throw new ProgramError('Cannot run a program: it leaves its end');
    if (isJumpClass(instruction)) {
      if (operationOf(instruction) === JUMP.EXIT) return (registerOf(registers, 0) & 1n) === 1n;
      if (jumps(instruction, registers)) pc += instruction.off;
    } else if (classOf(instruction) === CLASS.LDX) {
      registers[instruction.dst] = load(instruction, registers, context);
    } else {
      registers[instruction.dst] = compute(instruction, registers);
    }
  }
  throw new ProgramError(`Cannot run a program: it takes more than ${MAX_STEPS} steps`);
}

const registerOf = (registers: BigUint64Array, index: number): bigint => registers[index] ?? 0n;

/** Only the context can be read, and r1 is the only pointer to it: it is modelled as address 0. */
function load(instruction: Instruction, registers: BigUint64Array, context: Buffer): bigint {
  const bytes = LOAD_BYTES[instruction.code & 0x18] ?? 0;
  const at = Number(registerOf(registers, instruction.src)) + instruction.off;
  if ((instruction.code & 0xe0) !== MODE_MEM || at < 0 || at + bytes > 12) throw unknown(instruction);
  return bytes === 8 ? context.readBigUInt64LE(at) : BigInt(context.readUIntLE(at, bytes));
}

function operand(instruction: Instruction, registers: BigUint64Array): bigint {
  const fromRegister = (instruction.code & FROM_REGISTER) !== 0;
  return fromRegister ? registerOf(registers, instruction.src) : BigInt.asUintN(64, BigInt(instruction.imm));
}

function jumps(instruction: Instruction, registers: BigUint64Array): boolean {
  const operation = operationOf(instruction);
  const bits = classOf(instruction) === CLASS.JMP32 ? 32 : 64;
  if (operation === JUMP.JA && bits === 64) return true;
  const a = BigInt.asUintN(bits, registerOf(registers, instruction.dst));
  const b = BigInt.asUintN(bits, operand(instruction, registers));
  const [signedA, signedB] = [BigInt.asIntN(bits, a), BigInt.asIntN(bits, b)];
  switch (operation) {
    case JUMP.JEQ:
      return a === b;
    case JUMP.JNE:
      return a !== b;
    case JUMP.JSET:
      return (a & b) !== 0n;
    case JUMP.JGT:
      return a > b;
    case JUMP.JGE:
      return a >= b;
    case JUMP.JLT:
      return a < b;
    case JUMP.JLE:
      return a <= b;
    case JUMP.JSGT:
      return signedA > signedB;
    case JUMP.JSGE:
      return signedA >= signedB;
    case JUMP.JSLT:
      return signedA < signedB;
    case JUMP.JSLE:
      return signedA <= signedB;
    default:
      throw unknown(instruction);
  }
}

function compute(instruction: Instruction, registers: BigUint64Array): bigint {
  const kind = classOf(instruction);
  // A non-zero offset selects signed division or sign-extending moves, which no device program uses.
  if ((kind !== CLASS.ALU && kind !== CLASS.ALU64) || instruction.off !== 0) throw unknown(instruction);
  const bits = kind === CLASS.ALU ? 32 : 64;
  const a = BigInt.asUintN(bits, registerOf(registers, instruction.dst));
  const b = BigInt.asUintN(bits, operand(instruction, registers));
  return BigInt.asUintN(bits, arithmetic(instruction, a, b, bits));
}

function arithmetic(instruction: Instruction, a: bigint, b: bigint, bits: number): bigint {
  const shift = b & BigInt(bits - 1);
  switch (operationOf(instruction)) {
    case ALU.ADD:
      return a + b;
    case ALU.SUB:
      return a - b;
    case ALU.MUL:
      return a * b;
    case ALU.DIV:
      return b === 0n ? 0n : a / b;
    case ALU.MOD:
      return b === 0n ? a : a % b;
    case ALU.OR:
      return a | b;
    case ALU.AND:
      return a & b;
    case ALU.XOR:
      return a ^ b;
    case ALU.LSH:
      return a << shift;
    case ALU.RSH:
      return a >> shift;
    case ALU.ARSH:
      return BigInt.asIntN(bits, a) >> shift;
    case ALU.NEG:
      return -a;
    case ALU.MOV:
      return b;
    default:
      throw unknown(instruction);
  }
}

function unknown(instruction: Instruction): ProgramError {
  return new ProgramError(`Cannot run a program: instruction 0x${instruction.code.toString(16)} is not known`);
}
