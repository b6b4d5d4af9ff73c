import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { startHost } from './host.ts';
import { prepare } from './prepare.ts';

/**
 * Runs a command on a host that has cgroup v2 only: `npm run test:host-v2 -- COMMAND`. The host is a systemd in namespaces of its own,
 * network included, so that a cluster may run on the machine meanwhile. It reaches nothing outside. Ends with the command's status;
 * nothing is left but logs in `.local/host-v2`.
 */
const [command, ...args] = process.argv.slice(2);
if (command === undefined) throw new Error('Cannot run nothing: npm run test:host-v2 -- COMMAND');

await prepare();
const host = await startHost();
const [program, ...rest] = [...host.enter, command, ...args];
const child = spawn(program, rest, { stdio: 'inherit', env: host.env });
// A terminal sends its signals to the command as well.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
const status = await new Promise<number>((resolve) => {
  child.once('error', () => resolve(127));
  child.once('exit', (code, signal) => resolve(code ?? 128 + constants.signals[signal ?? 'SIGKILL']));
});
await host.stop();
process.exitCode = status;
