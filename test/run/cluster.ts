import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { runningCluster } from '../../deploy/local/cluster.ts';
import { livePid } from '../../deploy/local/identity.ts';
import { removeEarlier } from '../../deploy/local/leftovers.ts';
import { Progress } from '../../deploy/local/progress.ts';
import { statePaths } from '../../deploy/local/state.ts';
import { leftSince, readTraces, type Traces } from '../../deploy/local/traces.ts';
import { RESULTS, ROOT, runCommand } from './command.ts';
import { type Result, resultOf } from './suite.ts';

const LOCAL = join(ROOT, 'deploy', 'local', 'main.ts');

/**
 * What the machine has before `startCluster`. What a run that was cut off has left goes first: it counts for nobody, and settings of the
 * kernel which only go back with it would be taken for changed.
 */
export async function readTracesBefore(nodes: 2 | 3 = 3): Promise<Traces> {
  const paths = statePaths(process.env);
  const isInUse = livePid(paths.starter) !== undefined || runningCluster(paths, nodes) !== undefined;
  if (!isInUse) await removeEarlier(paths, new Progress(process.stdout));
  return readTraces(paths);
}

/** The cluster of the end-to-end tests, with a node of each kind; or with 2 nodes, for a machine without systemd. */
export function startCluster(nodes: 2 | 3 = 3): Promise<Result> {
  return local('cluster-start', 'start', '--detach', '--no-demo', '--nodes', String(nodes));
}

/** Stops it. What it leaves on the machine, compared with `before` its start, is a failure. */
export async function stopCluster(before: Traces): Promise<Result> {
  const stopped = await local('cluster-stop', 'stop');
  const left = await leftSince(before, statePaths(process.env));
  if (left.length === 0) return stopped;
  const failure = `npm stop has left:\n${left.join('\n')}`;
  appendFileSync(stopped.logFile, `${failure}\n`);
  return { ...stopped, failed: stopped.failed + 1, failures: [failure] };
}

async function local(name: string, ...args: readonly string[]): Promise<Result> {
  const logFile = join(RESULTS, `${name}.log`);
  return resultOf(await runCommand(logFile, process.execPath, ['--no-warnings', LOCAL, ...args]), logFile);
}
