import { createHash } from 'node:crypto';
import { fail } from '../../contract/failures.ts';
import { encode, type Program } from '../cgroup/instruction.ts';
import { originalsOf } from '../cgroup/unblind.ts';
import { type ProgramInfo, programTag, withLoaded } from './bpf.ts';

/** Programs that were proved once, by tag and dump. Containers of one runtime share theirs, so few are ever loaded. */
const proved = new Map<string, Program>();
const MAX_PROVED = 512;

/**
 * The instructions a program was loaded with, proved: loaded again they have the same tag. Throws
 * `ContainerUnsupported` when the kernel hides them or when no guess has the tag.
 */
export function recover(info: ProgramInfo): Program {
  if (info.dump === undefined) {
    throw fail(
      'ContainerUnsupported',
      `Cannot change device program ${info.id} (${info.name}): the kernel hides its instructions ` +
        '(net.core.bpf_jit_harden is 2 and kernel.kptr_restrict is 2)',
    );
  }
  const key = keyOf(info, info.dump);
  const known = proved.get(key);
  if (known !== undefined) return known;
  return remember(key, prove(info, info.dump));
}

/** Spares the proof for a program that we have just loaded ourselves. */
export function rememberLoaded(info: ProgramInfo, exact: Program): void {
  if (info.dump !== undefined) remember(keyOf(info, info.dump), exact);
}

const keyOf = (info: ProgramInfo, dump: Program): string =>
  `${info.tag} ${createHash('sha256').update(encode(dump)).digest('base64')}`;

function remember(key: string, exact: Program): Program {
  const [oldest] = proved.keys();
  if (proved.size >= MAX_PROVED && oldest !== undefined) proved.delete(oldest);
  proved.set(key, exact);
  return exact;
}

function prove(info: ProgramInfo, dump: Program): Program {
  try {
    const exact = originalsOf(dump).find((candidate) => withLoaded(candidate, 'devmnt_proof', programTag) === info.tag);
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
