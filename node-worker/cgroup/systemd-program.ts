import { ALU, CLASS, JUMP, type Program } from './instruction.ts';
import { op, PRELUDE, unlessAccess, unlessMajor, unlessMinor, unlessType, withJumps } from './program-parts.ts';
import { ALL_ACCESS } from './rule.ts';
import { type DeviceList, runcLists } from './runtime-program.ts';

/** systemd calls its own program so, and has only one for each cgroup. */
export const SYSTEMD_PROGRAM = 'sd_devices';

/**
 * The programs that systemd makes of what runc's systemd driver has told it of an OCI spec (DevicePolicy=strict and DeviceAllow),
 * again at every daemon-reload: guesses, which the tag proves, for when the kernel hides the instructions (src/core/bpf-devices.c).
 * crun tells it nothing of devices, and of containers that may use all but some devices systemd is told to allow all.
 */
export function systemdPrograms(rules: Parameters<typeof runcLists>[0]): readonly Program[] {
  return runcLists(rules)
    .filter(({ allowed }) => !allowed)
    .flatMap(({ exceptions }) => {
      // It puts each assignment in front of those before; another version may not.
      return [exceptions.toReversed(), exceptions].map(programOf);
    });
}

function programOf(exceptions: DeviceList['exceptions']): Program {
  const blocks = exceptions.flatMap(({ rule: { type, major, minor }, bits }) => {
    // Not known to systemd, and so not told to it.
    if (type === 'a' || (major === '*' && minor !== '*')) return [];
    return withJumps([
      ...(bits === ALL_ACCESS ? [] : unlessAccess(bits)),
      unlessType(type),
      ...(major === '*' ? [] : [unlessMajor(major)]),
      ...(minor === '*' ? [] : [unlessMinor(minor)]),
      PASS,
    ]);
  });
  const length = PRELUDE.length + blocks.length;
  return [
    ...PRELUDE,
    ...blocks.map((one, index) =>
      one === PASS ? { ...PASS, off: length + REFUSE.length - PRELUDE.length - index - 1 } : one,
    ),
    ...REFUSE,
    ...ALLOW,
  ];
}

/** To `ALLOW`; where that is, is known at the end. */
const PASS = op(CLASS.JMP | JUMP.JA, 0, 0, 0, 0);
const REFUSE: Program = [op(CLASS.ALU64 | ALU.MOV, 0, 0, 0, 0), op(CLASS.JMP | JUMP.JA, 0, 0, 1, 0)];
const ALLOW: Program = [op(CLASS.ALU64 | ALU.MOV, 0, 0, 0, 1), op(CLASS.JMP | JUMP.EXIT, 0, 0, 0, 0)];
