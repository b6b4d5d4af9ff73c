import { createHash } from 'node:crypto';
import { fail, failureOf } from '../../contract/failures.ts';
import { withRules } from '../cgroup/filter.ts';
import { encode, type Program } from '../cgroup/instruction.ts';
import { type DeviceRule, mergeRules } from '../cgroup/rule.ts';
import { runtimePrograms, USUAL_SPECS } from '../cgroup/runtime-program.ts';
import type { RuntimeRule } from '../cgroup/runtime-rule.ts';
import { SYSTEMD_PROGRAM, systemdPrograms } from '../cgroup/systemd-program.ts';
import { originalsOf } from '../cgroup/unblind.ts';
import { type ProgramInfo, programTag, withLoaded } from './bpf.ts';
import { forgetKnown } from './known-programs.ts';

/** What a program can be recognised by when the kernel hides its instructions. Guesses: the tag proves them. */
export interface Hints {
  /** Device rules of the container's OCI spec, where they are known. */
  readonly spec?: readonly RuntimeRule[] | undefined;
  /** Rules of each live grant, in the order in which they are taken back. */
  readonly granted: readonly (readonly DeviceRule[])[];
}

/** Programs that were proved once, by tag and dump. Containers of one runtime share theirs, so few are ever loaded. */
const proved = new Map<string, Program>();
const MAX_KEPT = 512;
/** Each is loaded with every original, some milliseconds together. */
const MAX_SECTIONS = 64;

/**
 * Those that could not be, by what was known of them then: why, and until when nobody tries again, since each try loads all guesses.
 * Not for ever: a try may also fail because the kernel had no memory for a guess.
 */
const refused = new Map<string, { readonly why: Error; readonly untilMs: number }>();
const REFUSED_MS = 60_000;

/**
 * The instructions a program was loaded with, proved: loaded again they have the same tag. Where the kernel hides them
 * (net.core.bpf_jit_harden=2 with kernel.kptr_restrict=2) the guesses are what runtimes and systemd make of the container's spec,
 * or of one without devices, with what we may have put in front. Throws `ContainerUnsupported` when no guess has the tag.
 */
export function recover(info: ProgramInfo, hints: Hints): Program {
  const key = keyOf(info);
  const known = proved.get(key);
  if (known !== undefined) return known;
  // The message names the program by its id.
  const refusal = `${info.id} ${key} ${JSON.stringify(hints)}`;
  const before = refused.get(refusal);
  if (before !== undefined && performance.now() < before.untilMs) throw before.why;
  try {
    return remember(key, info.dump === undefined ? proveHidden(info, hints) : prove(info, info.dump));
  } catch (err) {
    const why = failureOf(err);
    if (why?.type === 'ContainerUnsupported') keep(refused, refusal, { why, untilMs: performance.now() + REFUSED_MS });
    throw err;
  }
}

/** Spares the proof for a program that we have just loaded ourselves. */
export function rememberLoaded(info: ProgramInfo, exact: Program): void {
  remember(keyOf(info), exact);
}

const keyOf = ({ tag, dump }: ProgramInfo): string =>
  `${tag} ${dump === undefined ? 'hidden' : createHash('sha256').update(encode(dump)).digest('base64')}`;

function remember(key: string, exact: Program): Program {
  keep(proved, key, exact);
  return exact;
}

function keep<T>(all: Map<string, T>, key: string, one: T): void {
  const [oldest] = all.keys();
  if (all.size >= MAX_KEPT && oldest !== undefined) all.delete(oldest);
  all.set(key, one);
}

/** As a process that has just started. */
export function forgetProved(): void {
  proved.clear();
  refused.clear();
  forgetKnown();
}

const hasTag =
  (tag: string) =>
  (guess: Program): boolean =>
    withLoaded(guess, 'devmnt_proof', programTag) === tag;

function proveHidden(info: ProgramInfo, { spec, granted }: Hints): Program {
  const programs = info.name.endsWith(SYSTEMD_PROGRAM) ? systemdPrograms : runtimePrograms;
  const originals = [...(spec === undefined ? [] : [spec]), ...USUAL_SPECS].flatMap(programs);
  for (const rules of sectionsOf(granted).take(MAX_SECTIONS)) {
    const exact = originals.map((original) => withRules(original, rules)).find(hasTag(info.tag));
    if (exact !== undefined) return exact;
  }
  throw fail(
    'ContainerUnsupported',
    `Cannot change device program ${info.id} (${info.name}): the kernel hides its instructions ` +
      '(net.core.bpf_jit_harden is 2 and kernel.kptr_restrict is 2), and they are none that runc, crun or systemd makes of what is known of the container',
  );
}

/**
 * What may be in front: the rules of all grants, of none, or of all but some that follow one another, which is how a mount
 * of several devices is taken back.
 */
function* sectionsOf(granted: Hints['granted']): Generator<readonly DeviceRule[]> {
  yield [];
  yield mergeRules(granted.flat());
  for (let length = 1; length < granted.length; length++) {
    for (let start = 0; start + length <= granted.length; start++) {
      yield mergeRules(granted.filter((_, index) => index < start || index >= start + length).flat());
    }
  }
}

function prove(info: ProgramInfo, dump: Program): Program {
  try {
    const exact = originalsOf(dump).find(hasTag(info.tag));
    if (exact !== undefined) return exact;
    throw new Error(`nothing that its dump can come from has its tag ${info.tag}`);
  } catch (err) {
    throw fail(
      'ContainerUnsupported',
      `Cannot change device program ${info.id} (${info.name}): its original instructions cannot be recovered`,
      err,
    );
  }
}
