import { createHash } from 'node:crypto';
import { fail } from '../../contract/failures.ts';
import { withRules } from '../cgroup/filter.ts';
import { encode, type Program } from '../cgroup/instruction.ts';
import type { DeviceRule } from '../cgroup/rule.ts';
import { runtimePrograms } from '../cgroup/runtime-program.ts';
import { originalsOf } from '../cgroup/unblind.ts';
import { type ProgramInfo, programTag, withLoaded } from './bpf.ts';

/** Programs that were proved once, by tag and dump. Containers of one runtime share theirs, so few are ever loaded. */
const proved = new Map<string, Program>();
const MAX_PROVED = 512;

/**
 * The instructions a program was loaded with, proved: loaded again they have the same tag. Where the kernel hides them
 * (net.core.bpf_jit_harden=2 with kernel.kptr_restrict=2) the guesses are what runtimes make by default, with any of
 * `maybe` in front: rules that we may have put there. Throws `ContainerUnsupported` when no guess has the tag.
 */
export function recover(info: ProgramInfo, maybe: readonly (readonly DeviceRule[])[] = []): Program {
  const key = keyOf(info);
  const known = proved.get(key);
  if (known !== undefined) return known;
  return remember(key, info.dump === undefined ? proveHidden(info, maybe) : prove(info, info.dump));
}

/** Spares the proof for a program that we have just loaded ourselves. */
export function rememberLoaded(info: ProgramInfo, exact: Program): void {
  remember(keyOf(info), exact);
}

const keyOf = ({ tag, dump }: ProgramInfo): string =>
  `${tag} ${dump === undefined ? 'hidden' : createHash('sha256').update(encode(dump)).digest('base64')}`;

function remember(key: string, exact: Program): Program {
  const [oldest] = proved.keys();
  if (proved.size >= MAX_PROVED && oldest !== undefined) proved.delete(oldest);
  proved.set(key, exact);
  return exact;
}

/** As a process that has just started. */
export function forgetProved(): void {
  proved.clear();
}

const hasTag =
  (tag: string) =>
  (guess: Program): boolean =>
    withLoaded(guess, 'devmnt_proof', programTag) === tag;

function proveHidden(info: ProgramInfo, maybe: readonly (readonly DeviceRule[])[]): Program {
  const originals = runtimePrograms();
  const wrapped = maybe.flatMap((rules) => originals.map((original) => withRules(original, rules)));
  const exact = [...originals, ...wrapped].find(hasTag(info.tag));
  if (exact !== undefined) return exact;
  throw fail(
    'ContainerUnsupported',
    `Cannot change device program ${info.id} (${info.name}): the kernel hides its instructions ` +
      '(net.core.bpf_jit_harden is 2 and kernel.kptr_restrict is 2), and they are none that a runtime makes by default',
  );
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
