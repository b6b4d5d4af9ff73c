import { parseArgs } from 'node:util';
import { MUTATIONS, type MutationName } from './mutations.ts';

export interface Options {
  /** How many have to hit something. */
  readonly faults: number;
  readonly seed: number;
  readonly mutation?: MutationName;
  /** Show the schedule, and do nothing. */
  readonly print: boolean;
}

export const USAGE = `npm run chaos -- [--faults N] [--seed S] [--mutation ${Object.keys(MUTATIONS).join('|')}] [--print]`;

/** A seed of today, so that another day tries something else. */
const seedOfToday = (): number => Math.floor(Date.now() / 86_400_000);

/** @throws TypeError for what is not understood */
export function parseOptions(argv: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      faults: { type: 'string' },
      seed: { type: 'string', default: String(seedOfToday()) },
      mutation: { type: 'string' },
      print: { type: 'boolean', default: false },
    },
  });
  const { mutation, print } = values;
  if (mutation !== undefined && !isMutation(mutation)) {
    throw new TypeError(`Cannot make mutation "${mutation}": there are ${Object.keys(MUTATIONS).join(', ')}`);
  }
  const faults = whole('faults', values.faults ?? (mutation === undefined ? '300' : '100'));
  return { faults, seed: whole('seed', values.seed), print, ...(mutation !== undefined && { mutation }) };
}

const isMutation = (name: string): name is MutationName => Object.hasOwn(MUTATIONS, name);

function whole(name: string, text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new TypeError(`Cannot take --${name} "${text}": it must be a whole number`);
}
