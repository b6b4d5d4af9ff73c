import { join } from 'node:path';
import { isIntact, loadCluster } from '../../deploy/local/cluster.ts';
import { isDescribed, REPOSITORY, statePaths } from '../../deploy/local/state.ts';
import { runCommand } from '../run/command.ts';
import { copyMutated, type MutationName } from './mutations.ts';
import { type Options, parseOptions, USAGE } from './options.ts';
import { Random } from './random.ts';
import { scheduleOf, wordsOf } from './schedule.ts';

/**
 * Breaks the cluster of three nodes by a schedule that a seed decides, while clients mount and unmount, and looks whether the product kept
 * its promises: `npm run chaos`. Ends with 0 when it did; with a mutation, when that was found.
 */
const NODE_NAMES = ['node-1', 'node-2', 'node-3'];
const paths = statePaths(process.env);
const folder = join(paths.root, 'chaos');
const aborted = new AbortController();

async function main(options: Options): Promise<number> {
  if (options.print) return print(options);
  const found = runsAlready();
  try {
    await deploy(REPOSITORY);
    if (options.mutation !== undefined) await deploy(mutatedCopy(options.mutation));
    return await check(options);
  } finally {
    if (!found) await local(REPOSITORY, 'stop');
    else if (options.mutation !== undefined) await deploy(REPOSITORY);
  }
}

function print({ seed, faults }: Options): number {
  for (const fault of scheduleOf(new Random(seed).for('faults'), NODE_NAMES).take(faults)) console.log(wordsOf(fault));
  return 0;
}

const runsAlready = (): boolean => isDescribed(paths) && isIntact(loadCluster(paths.root));

function mutatedCopy(mutation: MutationName): string {
  const copy = join(folder, 'mutated');
  copyMutated(mutation, copy);
  return copy;
}

/** Starts the cluster with the product of a checkout, or rolls that out on one that runs. */
async function deploy(checkout: string): Promise<void> {
  await local(checkout, 'start', '--detach', '--no-demo', '--nodes', String(NODE_NAMES.length));
}

async function local(checkout: string, ...args: readonly string[]): Promise<void> {
  const log = join(folder, `${args[0]}.log`);
  const script = join(checkout, 'deploy', 'local', 'main.ts');
  const env = { DEVICE_MOUNTER_STATE: paths.root };
  console.log(`npm ${args.join(' ')}`);
  const code = await runCommand(log, process.execPath, ['--no-warnings', script, ...args], { env });
  if (code !== 0) throw new Error(`Cannot ${args[0]} the cluster: see ${log}`);
}

async function check({ seed, faults, mutation }: Options): Promise<number> {
  console.log(`Seed ${seed}, ${faults} faults${mutation === undefined ? '' : `, mutation ${mutation}`}`);
  // Looks for the running cluster as soon as it is loaded.
  const { runChaos } = await import('./run.ts');
  const run = join(folder, mutation ?? `seed-${seed}`);
  const clean = await runChaos({
    seed,
    faults,
    folder: run,
    signal: aborted.signal,
    ...(mutation !== undefined && { mutation }),
  });
  console.log(`Everything that happened: ${join(run, 'history.jsonl')}`);
  if (aborted.signal.aborted) {
    console.log('Interrupted: not all of the faults were tried.');
    return clean ? 130 : 1;
  }
  if (mutation !== undefined) {
    console.log(clean ? `The mutation ${mutation} was NOT found.` : `The mutation ${mutation} was found.`);
    return clean ? 1 : 0;
  }
  if (!clean) console.log(`The same schedule again: npm run chaos -- --faults ${faults} --seed ${seed}`);
  return clean ? 0 : 1;
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(signal, () => aborted.abort(new Error('Interrupted.')));
try {
  process.exitCode = await main(parseOptions(process.argv.slice(2)));
} catch (err) {
  console.error(err instanceof Error ? err.message : String(err));
  if (err instanceof TypeError) console.error(USAGE);
  process.exitCode = err instanceof TypeError ? 2 : 1;
} finally {
  // Connections that are kept alive would hold the process.
  process.exit();
}
