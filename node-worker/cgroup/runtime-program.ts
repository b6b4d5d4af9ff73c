import { ALU, CLASS, FROM_REGISTER, type Instruction, JUMP, type Program } from './instruction.ts';
import { ALL_ACCESS, accessBits } from './rule.ts';

/** A rule as runtimes have them: also of all devices of a type or of a major number. */
interface RuntimeRule {
  readonly type: 'c' | 'b';
  readonly major: number | '*';
  readonly minor: number | '*';
  readonly access: string;
}

const op = (code: number, dst: number, src: number, off: number, imm: number): Instruction => ({
  code,
  dst,
  src,
  off,
  imm,
});
const c = (major: number | '*', minor: number | '*', access = 'rwm'): RuntimeRule => ({
  type: 'c',
  major,
  minor,
  access,
});

/** What runc and crun allow in every container (OCI runtime spec, "Default Devices"), in the order of their programs. */
const MKNOD: readonly RuntimeRule[] = [{ type: 'b', major: '*', minor: '*', access: 'm' }, c('*', '*', 'm')];
const RUNC = [...MKNOD, c(1, 3), c(1, 5), c(1, 7), c(1, 8), c(1, 9), c(5, 0), c(5, 2), c(10, 200), c(136, '*')];
const CRUN = [c(5, 2), c(136, '*'), c(5, 1), c(1, 9), c(1, 5), c(5, 0), c(1, 7), c(1, 8), c(1, 3), ...MKNOD];
const CONSOLE = c(5, 1);
const isTun = ({ major, minor }: RuntimeRule): boolean => major === 10 && minor === 200;

const PRELUDE: Program = [
  op(CLASS.LDX | 0x60, 2, 1, 0, 0),
  op(CLASS.ALU | ALU.AND, 2, 0, 0, 0xffff),
  op(CLASS.LDX | 0x60, 3, 1, 0, 0),
  op(CLASS.ALU | ALU.RSH, 3, 0, 0, 16),
  op(CLASS.LDX | 0x60, 4, 1, 4, 0),
  op(CLASS.LDX | 0x60, 5, 1, 8, 0),
];

const withConsole = (rules: readonly RuntimeRule[]): readonly RuntimeRule[] =>
  rules.flatMap((rule) => (rule.major === 5 && rule.minor === 2 ? [CONSOLE, rule] : [rule]));

/**
 * The programs that runc and crun make for containers without devices of their own, and for privileged ones; runc sorts
 * its rules, containerd adds the console, later versions leave out /dev/net/tun. Guesses for a program whose instructions
 * the kernel hides: the tag says whether one is right.
 */
export function runtimePrograms(): readonly Program[] {
  const withoutTun = RUNC.filter((rule) => !isTun(rule));
  const runc = [RUNC, withoutTun, withConsole(RUNC), withConsole(withoutTun)];
  return [...runc.map((rules) => programOf(rules, CLASS.ALU)), programOf(CRUN, CLASS.ALU64), ALLOW_ALL];
}

/** `kind` is the class of their moves into the result: runc's have 32 bits, crun's 64. */
function programOf(rules: readonly RuntimeRule[], kind: number): Program {
  return [...PRELUDE, ...rules.flatMap((rule) => block(rule, kind)), ...answer(kind, 0)];
}

const answer = (kind: number, result: 0 | 1): Program => [
  op(kind | ALU.MOV, 0, 0, 0, result),
  op(CLASS.JMP | JUMP.EXIT, 0, 0, 0, 0),
];

const ALLOW_ALL: Program = [...PRELUDE, ...answer(CLASS.ALU, 1)];

const isCheck = ({ code }: Instruction): boolean => (code & ~FROM_REGISTER) === (CLASS.JMP | JUMP.JNE);

function block({ type, major, minor, access }: RuntimeRule, kind: number): Program {
  const bits = accessBits(access);
  const checks: readonly Program[] = [
    [op(CLASS.JMP | JUMP.JNE, 2, 0, 0, type === 'b' ? 1 : 2)],
    bits === ALL_ACCESS
      ? []
      : [
          op(CLASS.ALU | ALU.MOV | FROM_REGISTER, 1, 3, 0, 0),
          op(CLASS.ALU | ALU.AND, 1, 0, 0, bits),
          op(CLASS.JMP | JUMP.JNE | FROM_REGISTER, 1, 3, 0, 0),
        ],
    major === '*' ? [] : [op(CLASS.JMP | JUMP.JNE, 4, 0, 0, major)],
    minor === '*' ? [] : [op(CLASS.JMP | JUMP.JNE, 5, 0, 0, minor)],
  ];
  const whole = [...checks.flat(), ...answer(kind, 1)];
  return whole.map((one, index) => (isCheck(one) ? { ...one, off: whole.length - index - 1 } : one));
}
