import { closeSync, constants, existsSync, openSync } from 'node:fs';
import { fail, failureOf } from '../../contract/failures.ts';
import { findSection, withRules } from '../cgroup/filter.ts';
import { type Program, sameProgram } from '../cgroup/instruction.ts';
import { allows } from '../cgroup/interpreter.ts';
import { ACCESS, accessBits, type DeviceRule, deviceKey } from '../cgroup/rule.ts';
import { SYSTEMD_PROGRAM } from '../cgroup/systemd-program.ts';
import {
  type AttachedPrograms,
  attachedPrograms,
  detachProgram,
  type ProgramInfo,
  programInfo,
  replaceProgram,
  replaceProgramOfLink,
  withLoaded,
  withProgram,
} from './bpf.ts';
import { type KnownProgram, knownProgram } from './known-programs.ts';
import { type Hints, recover, rememberLoaded } from './recover.ts';
import { hasCode } from './syscall.ts';

/** In front of the original's name while we have it wrapped: `dm_sd_devices`. */
const NAME_PREFIX = 'dm_';
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
export function setProgramRules(cgroup: string, rules: readonly DeviceRule[], hints: Hints): number {
  // A container that has ended took its programs with it.
  if (!existsSync(cgroup)) return 0;
  return withCgroup(cgroup, (cgroupFd) => {
    for (let attempt = 1; ; attempt++) {
      try {
        return changePrograms(cgroupFd, rules, hints);
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
  /** The name its owner gave it. */
  readonly name: string;
}

function changePrograms(cgroupFd: number, rules: readonly DeviceRule[], hints: Hints): number {
  const before = attachedPrograms(cgroupFd);
  const attached = before.ids.map((id) => readAttached(id, hints));
  const surplus = surplusOf(attached);
  const kept = attached.filter((program) => !surplus.includes(program));
  const changed = kept.filter((program) => changeOne(cgroupFd, before, program, rules));
  // After the others allow the rules as well: so there is no moment in which something allowed is refused.
  for (const { info } of surplus) withProgram(info.id, (fd) => detachProgram(cgroupFd, fd));
  return changed.length + surplus.length;
}

function readAttached(id: number, hints: Hints): Attached {
  const info = withProgram(id, programInfo);
  const exact = recover(info, hints);
  const original = withRules(exact, []);
  const ours = info.name.startsWith(NAME_PREFIX) && !sameProgram(exact, original);
  return { info, exact, original, name: ours ? info.name.slice(NAME_PREFIX.length) : info.name };
}

function changeOne(
  cgroupFd: number,
  before: AttachedPrograms,
  program: Attached,
  rules: readonly DeviceRule[],
): boolean {
  const wanted = rules.every((rule) => programAllows(program.original, rule))
    ? program.original
    : withRules(program.exact, rules);
  if (sameProgram(wanted, program.exact)) return false;
  const name = findSection(wanted) ? NAME_PREFIX + program.name : program.name;
  withProgram(program.info.id, (oldFd) =>
    withLoaded(wanted, name, (newFd) => replaceAndRemember(cgroupFd, newFd, oldFd, before.flags, wanted)),
  );
  return true;
}

function replaceAndRemember(cgroupFd: number, newFd: number, oldFd: number, flags: number, program: Program): void {
  try {
    replaceProgram(cgroupFd, newFd, oldFd, flags);
  } catch (err) {
    if (!hasCode(err, 'ENOENT') || !replaceProgramOfLink(cgroupFd, newFd, oldFd)) throw err;
  }
  rememberLoaded(programInfo(newFd), program);
}

/**
 * systemd replaces only the program it remembers. When that one was wrapped by us it attaches another at every
 * daemon-reload, and the list of programs is limited to 64: ours of the former one is not wanted any more. A program
 * equal to one that we have wrapped adds nothing either.
 */
function surplusOf(all: readonly Attached[]): readonly Attached[] {
  const wrapped = (one: Attached): boolean => !sameProgram(one.exact, one.original);
  const isOutdated = (one: Attached): boolean =>
    wrapped(one) &&
    one.name === SYSTEMD_PROGRAM &&
    all.some((other) => other.name === SYSTEMD_PROGRAM && !wrapped(other));
  const current = all.filter((one) => !isOutdated(one));
  const isDuplicate = (one: Attached): boolean =>
    !wrapped(one) && current.some((other) => wrapped(other) && sameProgram(other.original, one.original));
  return all.filter((one) => isOutdated(one) || isDuplicate(one));
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
export function effectiveAccess(cgroup: string, devices: readonly DeviceId[], hints: Hints): readonly number[] {
  const { ids } = withCgroup(cgroup, (fd) => attachedPrograms(fd, true));
  const programs = ids.map((id) => knownProgram(id, () => readAttached(id, hints).exact));
  return devices.map((device) => programs.reduce((bits, program) => bits & knownAccess(program, device), 7));
}

function knownAccess({ program, answers }: KnownProgram, device: DeviceId): number {
  const key = deviceKey(device);
  const bits = answers.get(key) ?? programAccess(program, device);
  answers.set(key, bits);
  return bits;
}

/**
 * Programs above the container's own cgroup are asked as well and belong to others. Throws `ContainerUnsupported` when one
 * of them refuses a rule.
 */
export function refuseDeniedAbove(cgroup: string, rules: readonly DeviceRule[], hints: Hints): void {
  const own = withCgroup(cgroup, (fd) => ({ attached: attachedPrograms(fd).ids, all: attachedPrograms(fd, true).ids }));
  for (const id of own.all.filter((one) => !own.attached.includes(one))) {
    const { exact } = readAttached(id, hints);
    const refused = rules.find((rule) => !programAllows(exact, rule));
    if (refused !== undefined) {
      throw fail(
        'ContainerUnsupported',
        `Cannot allow "${deviceKey(refused)}": device program ${id} of a cgroup above the container refuses it`,
      );
    }
  }
}

/** What is attached to one cgroup, for `inspect`, with the rules of ours in it, or undefined where that cannot be told. */
export function programsOf(
  cgroup: string,
  hints: Hints,
): readonly { readonly info: ProgramInfo; readonly ours: readonly DeviceRule[] | undefined }[] {
  return withCgroup(cgroup, (fd) => attachedPrograms(fd)).ids.map((id) => {
    const info = withProgram(id, programInfo);
    return { info, ours: rulesIn(info, hints) };
  });
}

function rulesIn(info: ProgramInfo, hints: Hints): readonly DeviceRule[] | undefined {
  try {
    return findSection(recover(info, hints))?.rules ?? [];
  } catch (err) {
    if (failureOf(err)?.type !== 'ContainerUnsupported') throw err;
    return undefined;
  }
}
