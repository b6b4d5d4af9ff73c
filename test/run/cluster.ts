import { join } from 'node:path';
import { RESULTS, ROOT, runCommand } from './command.ts';
import { type Result, resultOf } from './suite.ts';

const LOCAL = join(ROOT, 'deploy', 'local', 'main.ts');

/** The cluster of the end-to-end tests, with a node of each kind. */
export function startCluster(): Promise<Result> {
  return local('cluster-start', 'start', '--detach', '--no-demo', '--nodes', '3');
}

export function stopCluster(): Promise<Result> {
  return local('cluster-stop', 'stop');
}

async function local(name: string, ...args: readonly string[]): Promise<Result> {
  const logFile = join(RESULTS, `${name}.log`);
  return resultOf(await runCommand(logFile, process.execPath, ['--no-warnings', LOCAL, ...args]), logFile);
}
