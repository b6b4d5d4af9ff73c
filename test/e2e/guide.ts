import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { CLUSTER } from './cluster.ts';

const execFileAsync = promisify(execFile);
const GUIDES = join(import.meta.dirname, '..', '..', 'docs', 'guides');

export interface Block {
  /** Of the section that it stands in. */
  readonly heading: string;
  /** The word after the fence, for example `sh`. */
  readonly language: string;
  readonly text: string;
}

/** The fenced blocks of a guide, those in lists too, in their order. */
export function blocksOf(guide: string): readonly Block[] {
  const blocks: Block[] = [];
  let heading = '';
  let open: { readonly language: string; readonly lines: string[] } | undefined;
  for (const line of readFileSync(join(GUIDES, guide), 'utf8').split('\n')) {
    const fence = /^ *```(\w*)/.exec(line);
    if (open === undefined && fence !== null) open = { language: fence[1] ?? '', lines: [] };
    else if (open === undefined) heading = /^#+ (.*)/.exec(line)?.[1] ?? heading;
    else if (fence === null) open.lines.push(line);
    else {
      blocks.push({ heading, language: open.language, text: open.lines.join('\n') });
      open = undefined;
    }
  }
  return blocks;
}

/** Runs a block as an operator would, with the commands of the local cluster. Throws when one of its commands fails. */
export async function runBlock(text: string, env: Readonly<Record<string, string>>): Promise<string> {
  const { stdout } = await execFileAsync('bash', ['-euo', 'pipefail', '-c', text], {
    // Only ends what hangs.
    timeout: 300_000,
    env: {
      ...env,
      HOME: process.env['HOME'],
      // Without it bash takes its standard input for a remote shell's and reads the start-up files of interactive ones.
      SHLVL: '1',
      PATH: [CLUSTER.tools.temporal, dirname(CLUSTER.kubectl), process.env['PATH']].join(':'),
      KUBECONFIG: CLUSTER.kubeconfig,
      TEMPORAL_ADDRESS: CLUSTER.temporalAddress,
      TEMPORAL_NAMESPACE: 'default',
    },
  });
  return stdout;
}
