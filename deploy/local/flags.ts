import { parseArgs } from 'node:util';

export interface StartFlags {
  readonly command: 'start';
  /** End after the demo, with its exit code. */
  readonly once: boolean;
  /** End after the demo and leave the cluster running. */
  readonly detach: boolean;
  readonly demo: boolean;
  readonly product: boolean;
  readonly nodes: 2 | 3;
  readonly hostProcesses: boolean;
}

export type Flags = StartFlags | { readonly command: 'stop' };

export const USAGE = `npm start [-- OPTIONS]   starts the local cluster, shows a device mounted, stays until Ctrl-C
npm stop                takes down a cluster that was left running

  --once            end after the demo, with its exit code
  --detach          end after the demo, leave the cluster running
  --no-demo         without the demo
  --no-product      Kubernetes and Temporal only
  --nodes 2|3       node-3 runs under a systemd of its own (default 2)
  --host-processes  run the product on this machine instead of in pods, for debugging
`;

/** Reads the command line behind `main.ts`. Throws one sentence for the first thing that is wrong. */
export function parseFlags(argv: readonly string[]): Flags {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    allowNegative: true,
    options: {
      once: { type: 'boolean', default: false },
      detach: { type: 'boolean', default: false },
      demo: { type: 'boolean', default: true },
      product: { type: 'boolean', default: true },
      nodes: { type: 'string', default: '2' },
      'host-processes': { type: 'boolean', default: false },
    },
  });
  const [command = 'start', ...rest] = positionals;
  if (rest.length > 0) throw new Error(`Cannot understand "${rest.join(' ')}": one command is expected`);
  if (command === 'stop') return { command };
  if (command !== 'start') throw new Error(`Cannot understand "${command}": it is neither start nor stop`);
  const { once, detach, demo, product, nodes } = values;
  if (once && detach)
    throw new Error('Cannot use --once with --detach: one ends the cluster, the other leaves it running');
  if (nodes === '3' && values['host-processes'])
    throw new Error('Cannot use --host-processes with --nodes 3: node-3 has process numbers of its own');
  if (nodes !== '2' && nodes !== '3') throw new Error(`Cannot start ${nodes} nodes: 2 or 3 are possible`);
  return {
    command,
    once,
    detach,
    demo: demo && product,
    product,
    nodes: nodes === '2' ? 2 : 3,
    hostProcesses: values['host-processes'],
  };
}
