import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { REPOSITORY } from '../../deploy/local/state.ts';

/** A mistake in the product that the checker has to find. It is made in a copy. */
interface Mutation {
  readonly file: string;
  /** Text that is in the file once, and what is in its place in the copy. */
  readonly from: string;
  readonly to: string;
}

export const MUTATIONS = {
  /** Devices that are detached stay in the container. */
  'detach-does-nothing': {
    file: 'node-worker/mounts/grants.ts',
    from: '  await engine.revoke(handle, all, rest.reduce(without, without(others, first)));\n',
    to: '',
  },
  /** A mount that fails leaves its slave behind, until the reconciler finds it. */
  'undo-not-registered': {
    file: 'workflows/establish.ts',
    from: '  register(`slave pod ',
    to: '  Boolean(`slave pod ',
  },
  /** An unmount without force does not look whether the device is in use before it takes it. */
  'check-left-out': {
    file: 'node-worker/mounts/take-back.ts',
    from: '  if (users.length > 0) throw busy(users);\n',
    to: '',
  },
} as const satisfies Record<string, Mutation>;

export type MutationName = keyof typeof MUTATIONS;

/** The text with the mistake in it. Throws when the place is not there, or not the only one. */
export function mutated(text: string, { file, from, to }: Mutation): string {
  const [before, after, ...more] = text.split(from);
  if (before === undefined || after === undefined || more.length > 0)
    throw new Error(`Cannot mutate ${file}: it must hold the text to be changed once, see test/chaos/mutations.ts`);
  return `${before}${to}${after}`;
}

const LEFT_OUT = ['.git', '.local', 'coverage', 'node_modules'];

/** Makes a copy of the checkout with the mistake in it at `folder`, with the dependencies of this one. */
export function copyMutated(name: MutationName, folder: string): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const entry of readdirSync(REPOSITORY).filter((each) => !LEFT_OUT.includes(each)))
    cpSync(join(REPOSITORY, entry), join(folder, entry), { recursive: true });
  symlinkSync(join(REPOSITORY, 'node_modules'), join(folder, 'node_modules'));
  const path = join(folder, MUTATIONS[name].file);
  writeFileSync(path, mutated(readFileSync(path, 'utf8'), MUTATIONS[name]));
}
