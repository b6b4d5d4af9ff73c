import { closeSync, constants, existsSync, openSync } from 'node:fs';
import { fail } from '../../contract/failures.ts';
import { findSection, withRules } from '../cgroup/filter.ts';
import { type Program, sameProgram } from '../cgroup/instruction.ts';
import { allows } from '../cgroup/interpreter.ts';
import { ACCESS, accessBits, type DeviceRule, deviceKey } from '../cgroup/rule.ts';
import {
  type AttachedPrograms,
  attachedPrograms,
  detachProgram,
  type ProgramInfo,
  programInfo,
  replaceProgram,
  withLoaded,
  withProgram,
} from './bpf.ts';
import { recover, rememberLoaded } from './recover.ts';
import { hasCode } from './syscall.ts';

const PROGRAM_NAME = 'devmnt';
/** Somebody else replaced a program while we did: start over, but not for ever. */
const MAX_ATTEMPTS = 10;

type DeviceId = Pick<DeviceRule, 'type' | 'major' | 'minor'>;

export function withCgroup<T>(path: string, use: (cgroupFd: number) => T): T {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * Makes every device program attached to `cgroup` allow `rules` in front of what it allows itself; no rules restores the
 * originals byte for byte. Programs that allow all of `rules` anyway are left alone. Idempotent. Returns how many
 * programs were changed. Every change is one atomic replacement, so nothing that is allowed is ever refused in between.
 */
export function setProgramRules(cgroup: string, rules: readonly DeviceRule[]): number {
  // A container that has ended took its programs with it.
  if (!existsSync(cgroup)) return 0;
  return withCgroup(cgroup, (cgroupFd) => {
    for (let attempt = 1; ; attempt++) {
      try {
        return changePrograms(cgroupFd, rules);
      } catch (err) {
        // ENOENT: a program we saw is not attached any more; ESTALE: the list changed since the query.
        if (!hasCode(err, 'ENOENT', 'ESTALE') || attempt === MAX_ATTEMPTS) throw err;
      }
    }
  });
}

interface Attached {
  readonly info: ProgramInfo;
  readonly exact: Program;
  readonly original: Program;
}

function changePrograms(cgroupFd: number, rules: readonly DeviceRule[]): number {
  const before = attachedPrograms(cgroupFd);
  const attached = before.ids.map((id) => readAttached(id));
  let changed = 0;
  for (const program of attached) {
    if (changeOne(cgroupFd, before, program, attached, rules)) changed++;
  }
  return changed;
}

function readAttached(id: number): Attached {
  const info = withProgram(id, programInfo);
  const exact = recover(info);
  return { info, exact, original: withRules(exact, []) };
}

function changeOne(
  cgroupFd: number,
  before: AttachedPrograms,
  program: Attached,
  all: readonly Attached[],
  rules: readonly DeviceRule[],
): boolean {
  if (isDuplicate(program, all)) {
    withProgram(program.info.id, (fd) => detachProgram(cgroupFd, fd));
    return true;
  }
  const wanted = rules.every((rule) => programAllows(program.original, rule))
    ? program.original
    : withRules(program.exact, rules);
  if (sameProgram(wanted, program.exact)) return false;
  withProgram(program.info.id, (oldFd) =>
    withLoaded(wanted, findSection(wanted) ? PROGRAM_NAME : program.info.name, (newFd) =>
      replaceAndRemember(cgroupFd, newFd, oldFd, before.flags, wanted),
    ),
  );
  return true;
}

function replaceAndRemember(cgroupFd: number, newFd: number, oldFd: number, flags: number, program: Program): void {
  replaceProgram(cgroupFd, newFd, oldFd, flags);
  rememberLoaded(programInfo(newFd), program);
}

/**
 * systemd replaces only the program it remembers. When that one was wrapped by us it attaches the same program once more
 * at every daemon-reload; the second one adds nothing, and the list of programs is limited to 64.
 */
function isDuplicate(program: Attached, all: readonly Attached[]): boolean {
  const wrapped = (one: Attached): boolean => !sameProgram(one.exact, one.original);
  return (
    !wrapped(program) &&
    all.some((other) => other !== program && wrapped(other) && sameProgram(other.original, program.original))
  );
}

/** Whether a program allows all of a rule, in every combination of its accesses. */
export function programAllows(program: Program, rule: DeviceRule): boolean {
  return accessBits(rule.access) === (programAccess(program, rule) & accessBits(rule.access));
}

/** Access bits a program gives to a device: those of single accesses, less any it refuses when asked together. */
export function programAccess(program: Program, device: DeviceId): number {
  const single = Object.values(ACCESS).filter((access) => allows(program, { ...device, access }));
  const bits = single.reduce<number>((sum, access) => sum | access, 0);
  const both = ACCESS.r | ACCESS.w;
  return (bits & both) === both && !allows(program, { ...device, access: both }) ? bits & ~ACCESS.w : bits;
}

/** Access bits a process in `cgroup` has to a device: every program of it and above must allow. */
export function effectiveAccess(cgroup: string, devices: readonly DeviceId[]): readonly number[] {
  const programs = withCgroup(cgroup, (fd) => attachedPrograms(fd, true)).ids.map((id) => readAttached(id).exact);
  return devices.map((device) => programs.reduce((bits, program) => bits & programAccess(program, device), 7));
}

/**
 * Programs above the container's own cgroup are asked as well and belong to others. Throws `ContainerUnsupported` when one
 * of them refuses a rule.
 */
export function refuseDeniedAbove(cgroup: string, rules: readonly DeviceRule[]): void {
  const own = withCgroup(cgroup, (fd) => ({ attached: attachedPrograms(fd).ids, all: attachedPrograms(fd, true).ids }));
  for (const id of own.all.filter((one) => !own.attached.includes(one))) {
    const { exact } = readAttached(id);
    const refused = rules.find((rule) => !programAllows(exact, rule));
    if (refused !== undefined) {
      throw fail(
        'ContainerUnsupported',
        `Cannot allow "${deviceKey(refused)}": device program ${id} of a cgroup above the container refuses it`,
      );
    }
  }
}

/** What is attached to one cgroup, for `inspect`. */
export function programsOf(
  cgroup: string,
): readonly { readonly info: ProgramInfo; readonly ours: readonly DeviceRule[] }[] {
  return withCgroup(cgroup, (fd) => attachedPrograms(fd)).ids.map((id) => {
    const info = withProgram(id, programInfo);
    return { info, ours: info.dump === undefined ? [] : (findSection(recover(info))?.rules ?? []) };
  });
}
