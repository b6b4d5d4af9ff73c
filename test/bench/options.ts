import { parseArgs } from 'node:util';

export interface Options {
  /** One line of JSON for each figure, and nothing else. */
  readonly json: boolean;
  /** Of each timed request. */
  readonly rounds: number;
  /** The only node that is measured; all when not given. */
  readonly node?: string;
  /** File that the picture of a trace is written to. */
  readonly out: string;
}

export const USAGE = '[--json] [--rounds N] [--node NAME] [--out FILE]';

/** @throws TypeError for what is not understood */
export function parseOptions(argv: readonly string[]): Options & { readonly names: readonly string[] } {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      json: { type: 'boolean', default: false },
      rounds: { type: 'string', default: '30' },
      node: { type: 'string' },
      out: { type: 'string', default: 'docs/images/mount-trace.svg' },
    },
  });
  const { json, rounds, node, out } = values;
  if (!/^[1-9]\d{0,4}$/.test(rounds))
    throw new TypeError(`Cannot take --rounds "${rounds}": it must be a whole number`);
  return { names: positionals, json, rounds: Number(rounds), out, ...(node !== undefined && { node }) };
}

/** @throws when there is none of that name */
export function chosenNodes<T extends { readonly name: string }>(nodes: readonly T[], { node }: Options): readonly T[] {
  const chosen = nodes.filter(({ name }) => node === undefined || name === node);
  if (chosen.length === 0) throw new Error(`Cannot measure on node "${node}": the cluster has none of that name`);
  return chosen;
}
