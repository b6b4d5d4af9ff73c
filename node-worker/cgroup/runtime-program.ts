import { ALU, CLASS, JUMP, type Program } from './instruction.ts';
import {
  isCheck,
  op,
  PRELUDE,
  unlessAccess,
  unlessMajor,
  unlessMinor,
  unlessType,
  withJumps,
} from './program-parts.ts';
import { ALL_ACCESS, accessBits } from './rule.ts';
import { allow, everything, type RuntimeRule } from './runtime-rule.ts';

/**
 * The programs that runc and crun make of the device rules of an OCI spec: guesses for a program whose instructions the
 * kernel hides. Its tag says whether one is right, so a version of theirs that is not known here costs a refusal, no more.
 */
export function runtimePrograms(rules: readonly RuntimeRule[]): readonly Program[] {
  return [
    ...runcLists(rules).map(runcProgram),
    ...[CRUN, CRUN_WITH_TUN].map((defaults) => crunProgram(rules, defaults)),
  ];
}

/** What specs say of containers without devices of their own; containerd adds the console. And of privileged ones. */
export const USUAL_SPECS: readonly (readonly RuntimeRule[])[] = [
  [everything(false)],
  [everything(false), allow('c', 5, 1)],
  [everything(true)],
];

const MKNOD = [allow('c', '*', '*', 'm'), allow('b', '*', '*', 'm')];
const TUN = allow('c', 10, 200);
/** What each runtime adds to every spec (OCI runtime spec, "Default Devices"). Versions differ in /dev/net/tun. */
const RUNC = [
  ...MKNOD,
  ...[3, 5, 7, 8, 9].map((minor) => allow('c', 1, minor)),
  allow('c', 5, 0),
  allow('c', 5, 2),
  allow('c', 136, '*'),
];
const RUNC_WITH_TUN = [...RUNC, TUN];
/** In the order of crun's, which is that of its program, from the end. */
const CRUN = [
  ...MKNOD,
  allow('c', 1, 3),
  allow('c', 1, 8),
  allow('c', 1, 7),
  allow('c', 5, 0),
  allow('c', 1, 5),
  allow('c', 1, 9),
  allow('c', 5, 1),
  allow('c', 136, '*'),
  allow('c', 5, 2),
];
/** Versions with tun also make a rule, which allows nothing, of the mark that ends their list. */
const CRUN_WITH_TUN = [...CRUN, TUN, allow('c', 0, 0, '')];

/** What is done by default, and the exceptions from it, one for each device. */
export interface DeviceList {
  readonly allowed: boolean;
  readonly exceptions: readonly { readonly rule: RuntimeRule; readonly bits: number }[];
}

/**
 * What runc makes of the rules of a spec, in each of its versions: it brings them into the form of a v1 devices.list first,
 * sorted by major, minor and type, where `*` comes first.
 */
export function runcLists(rules: readonly RuntimeRule[]): readonly DeviceList[] {
  return [RUNC, RUNC_WITH_TUN].map((defaults) => listOf([...rules, ...defaults]));
}

function listOf(rules: readonly RuntimeRule[]): DeviceList {
  let allowed = false;
  const exceptions = new Map<string, { readonly rule: RuntimeRule; readonly bits: number }>();
  for (const rule of rules) {
    if (rule.type === 'a') {
      allowed = rule.allow;
      exceptions.clear();
      continue;
    }
    const key = `${rule.type} ${rule.major}:${rule.minor}`;
    const before = exceptions.get(key)?.bits ?? 0;
    const bits = rule.allow === allowed ? before & ~accessBits(rule.access) : before | accessBits(rule.access);
    if (bits === 0) exceptions.delete(key);
    else exceptions.set(key, { rule, bits });
  }
  const sorted = [...exceptions.values()].sort(
    ({ rule: a }, { rule: b }) =>
      order(a.major) - order(b.major) || order(a.minor) - order(b.minor) || a.type.localeCompare(b.type),
  );
  return { allowed, exceptions: sorted };
}

function runcProgram({ allowed, exceptions }: DeviceList): Program {
  const blocks = exceptions.flatMap(({ rule, bits }) => block(rule, bits, answer(CLASS.ALU, !allowed)));
  return [...PRELUDE, ...blocks, ...answer(CLASS.ALU, allowed)];
}

const order = (number: number | '*'): number => (number === '*' ? -1 : number);

/** crun turns each rule into a block, the last first; nothing follows the one that speaks of everything. */
function crunProgram(rules: readonly RuntimeRule[], defaults: readonly RuntimeRule[]): Program {
  const program = [...PRELUDE];
  for (const rule of [...defaults.toReversed(), ...rules.toReversed()]) {
    const one = block(rule, accessBits(rule.access), answer(CLASS.ALU64, rule.allow));
    program.push(...one);
    if (!one.some(isCheck)) return program;
  }
  return [...program, ...answer(CLASS.ALU64, false)];
}

/** `kind` is the class of the move into the result: runc's has 32 bits, crun's 64. */
const answer = (kind: number, allowed: boolean): Program => [
  op(kind | ALU.MOV, 0, 0, 0, allowed ? 1 : 0),
  op(CLASS.JMP | JUMP.EXIT, 0, 0, 0, 0),
];

/** What the rule leaves open is not looked at. */
function block({ type, major, minor }: RuntimeRule, bits: number, result: Program): Program {
  const checks = [
    ...(type === 'a' ? [] : [unlessType(type)]),
    ...(bits === ALL_ACCESS ? [] : unlessAccess(bits)),
    ...(major === '*' ? [] : [unlessMajor(major)]),
    ...(minor === '*' ? [] : [unlessMinor(minor)]),
  ];
  return withJumps([...checks, ...result]);
}
