import { ALU, CLASS, type Instruction, isJump, JUMP, type Program } from './instruction.ts';
import { assemble, keep } from './rewrite.ts';
import { ALL_ACCESS, accessBits, accessLetters, type DeviceRule, mergeRules } from './rule.ts';

/**
 * Our part of a device program: a prelude, one block per rule, a marker; whatever it does not allow goes on to the
 * original program behind it. r1 (the context) is left as it is, so the original starts as it always does.
 *
 * Context, struct bpf_cgroup_dev_ctx of include/uapi/linux/bpf.h: u32 access_type (low 16 bits the device type, high 16
 * the access), u32 major, u32 minor. Jumps are of class JMP, not JMP32, which kernels before 5.1 do not have.
 */
const op = (code: number, dst: number, src: number, off: number, imm: number): Instruction => ({
  code,
  dst,
  src,
  off,
  imm,
});
const LOAD_WORD = CLASS.LDX | 0x60;
const DEVICE_TYPE = { b: 1, c: 2 } as const;

const PRELUDE: Program = [
  op(LOAD_WORD, 2, 1, 0, 0), // r2 = access_type
  op(CLASS.ALU | ALU.AND, 2, 0, 0, 0xffff), // w2 &= 0xffff: the device type
  op(LOAD_WORD, 3, 1, 0, 0), // r3 = access_type
  op(CLASS.ALU | ALU.RSH, 3, 0, 0, 16), // w3 >>= 16: the access
  op(LOAD_WORD, 4, 1, 4, 0), // r4 = major
  op(LOAD_WORD, 5, 1, 8, 0), // r5 = minor
];

/** Two stores that do nothing; the verifier keeps them, so a dump shows where the original starts. */
const MARKER: Program = [op(CLASS.ALU | ALU.MOV, 0, 0, 0, 0x64766d6e), op(CLASS.ALU | ALU.MOV, 0, 0, 0, 0x74763031)];

const ALLOW: Program = [
  op(CLASS.ALU | ALU.MOV, 0, 0, 0, 1), // w0 = 1
  op(CLASS.JMP | JUMP.EXIT, 0, 0, 0, 0),
];

function block(rule: DeviceRule): Program {
  const refused = ALL_ACCESS & ~accessBits(rule.access);
  const checks = [
    [JUMP.JNE, 2, DEVICE_TYPE[rule.type]],
    [JUMP.JNE, 4, rule.major],
    [JUMP.JNE, 5, rule.minor],
    ...(refused === 0 ? [] : [[JUMP.JSET, 3, refused] as const]), // asks for more than the rule gives
  ] as const;
  const toNextBlock = (index: number): number => checks.length - index - 1 + ALLOW.length;
  return [
    ...checks.map(([jump, register, imm], index) => op(CLASS.JMP | jump, register, 0, toNextBlock(index), imm)),
    ...ALLOW,
  ];
}

/** Our part for `rules`, merged; nothing for no rules. */
export function sectionOf(rules: readonly DeviceRule[]): Program {
  const merged = mergeRules(rules);
  return merged.length === 0 ? [] : [...PRELUDE, ...merged.flatMap(block), ...MARKER];
}

/** Our part in a program: instructions `start` up to `end`. */
export interface Section {
  readonly start: number;
  readonly end: number;
  readonly rules: readonly DeviceRule[];
}

/** Finds our part, also behind something that another program put in front of it later. */
export function findSection(program: Program): Section | undefined {
  for (let start = 0; start < program.length; start++) {
    const section = matches(program, start, PRELUDE) ? readSection(program, start) : undefined;
    if (section !== undefined) return section;
  }
  return undefined;
}

/** `program` with our part replaced by one for `rules`; with no rules, the original without us. Throws `ProgramError`. */
export function withRules(program: Program, rules: readonly DeviceRule[]): Program {
  const { start, end } = findSection(program) ?? { start: 0, end: 0 };
  return assemble([
    ...program.slice(0, start).map(keep),
    { replaces: end - start, by: sectionOf(rules), relocated: true },
    ...program.slice(end).map(keep),
  ]);
}

function readSection(program: Program, start: number): Section | undefined {
  const rules: DeviceRule[] = [];
  let at = start + PRELUDE.length;
  while (!matches(program, at, MARKER)) {
    const rule = readBlock(program, at);
    if (rule === undefined) return undefined;
    rules.push(rule);
    at += block(rule).length;
  }
  return rules.length === 0 ? undefined : { start, end: at + MARKER.length, rules };
}

function readBlock(program: Program, at: number): DeviceRule | undefined {
  const [type, major, minor, refused] = program.slice(at, at + 4);
  if (type === undefined || major === undefined || minor === undefined || refused === undefined) return undefined;
  const limited = isJump(refused);
  const rule: DeviceRule = {
    type: type.imm === DEVICE_TYPE.b ? 'b' : 'c',
    major: major.imm,
    minor: minor.imm,
    access: accessLetters(limited ? ALL_ACCESS & ~refused.imm : ALL_ACCESS),
  };
  return rule.access !== '' && matches(program, at, block(rule)) ? rule : undefined;
}

function matches(program: Program, at: number, expected: Program): boolean {
  return expected.every((want, index) => {
    const is = program[at + index];
    return (
      is !== undefined &&
      is.code === want.code &&
      is.dst === want.dst &&
      is.src === want.src &&
      is.off === want.off &&
      is.imm === want.imm
    );
  });
}
