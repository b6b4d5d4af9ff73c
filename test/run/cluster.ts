import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { statePaths } from '../../deploy/local/state.ts';
import { leftSince, type Traces } from '../../deploy/local/traces.ts';
import { RESULTS, ROOT, runCommand } from './command.ts';
import { type Result, resultOf } from './suite.ts';

const LOCAL = join(ROOT, 'deploy', 'local', 'main.ts');

/** The cluster of the end-to-end tests, with a node of each kind; or with 2 nodes, for a machine without systemd. */
export function startCluster(nodes: 2 | 3 = 3): Promise<Result> {
  return local('cluster-start', 'start', '--detach', '--no-demo', '--nodes', String(nodes));
}

/** Stops it. What it leaves on the machine, compared with `before` its start, is a failure. */
export async function stopCluster(before: Traces): Promise<Result> {
  const stopped = await local('cluster-stop', 'stop');
  const left = await leftSince(before, statePaths(process.env));
  if (left.length === 0) return stopped;
  appendFileSync(stopped.logFile, `npm stop has left:\n${left.join('\n')}\n`);
  return { ...stopped, failed: stopped.failed + 1 };
}

async function local(name: string, ...args: readonly string[]): Promise<Result> {
  const logFile = join(RESULTS, `${name}.log`);
  return resultOf(await runCommand(logFile, process.execPath, ['--no-warnings', LOCAL, ...args]), logFile);
}
