import { parseArgs } from 'node:util';

const DEVICE_TYPES = ['HOSTDEV', 'GENERIC'] as const;

/** The types of which the local cluster has devices for everybody. */
export type DeviceType = (typeof DEVICE_TYPES)[number];

export interface Options {
  /** One line of JSON for each figure, and nothing else. */
  readonly json: boolean;
  /** Of each timed request. */
  readonly rounds: number;
  /** The only node that is measured; all when not given. */
  readonly node?: string;
  /** Of the mounts that a trace shows. */
  readonly type: DeviceType;
  /** File that the picture of a trace is written to. */
  readonly out: string;
}

export const USAGE = '[--json] [--rounds N] [--node NAME] [--type HOSTDEV|GENERIC] [--out FILE]';

/** @throws TypeError for what is not understood */
export function parseOptions(argv: readonly string[]): Options & { readonly names: readonly string[] } {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      json: { type: 'boolean', default: false },
      rounds: { type: 'string', default: '30' },
      node: { type: 'string' },
      type: { type: 'string', default: 'HOSTDEV' },
      out: { type: 'string', default: 'docs/images/mount-trace.svg' },
    },
  });
  const { json, rounds, node, out } = values;
  const type = DEVICE_TYPES.find((known) => known === values.type);
  if (type === undefined)
    throw new TypeError(`Cannot take --type "${values.type}": it must be ${DEVICE_TYPES.join(' or ')}`);
  if (!/^[1-9]\d{0,4}$/.test(rounds))
    throw new TypeError(`Cannot take --rounds "${rounds}": it must be a whole number`);
  return { names: positionals, json, rounds: Number(rounds), type, out, ...(node !== undefined && { node }) };
}

/** @throws when there is none of that name */
export function chosenNodes<T extends { readonly name: string }>(nodes: readonly T[], { node }: Options): readonly T[] {
  const chosen = nodes.filter(({ name }) => node === undefined || name === node);
  if (chosen.length === 0) throw new Error(`Cannot measure on node "${node}": the cluster has none of that name`);
  return chosen;
}
