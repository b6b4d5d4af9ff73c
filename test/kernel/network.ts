import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { until } from './devices.ts';

/** An empty network with a loopback link that is up, and a `/run` of its own for named networks. */
export interface TestNetwork {
  /** Pid of the process that holds it, for nsenter. */
  readonly pid: number;
  /** Runs a command there and answers its output. */
  run(command: string, ...args: readonly string[]): string;
  remove(): Promise<void>;
}

export async function makeNetwork(): Promise<TestNetwork> {
  const script = 'mount --make-rprivate / && mount -t tmpfs run /run && ip link set lo up && echo up && exec cat';
  const holder = spawn('unshare', ['--net', '--mount', 'sh', '-c', script], { stdio: ['pipe', 'pipe', 'inherit'] });
  await saysSomething(holder);
  const { pid = 0 } = holder;
  return {
    pid,
    run: (...command) =>
      execFileSync('nsenter', [`--target=${pid}`, '--net', '--mount', ...command], { encoding: 'utf8' }),
    async remove() {
      holder.kill('SIGKILL');
      await until(() => holder.exitCode ?? holder.signalCode, Boolean);
    },
  };
}

/** Starts a process there that listens; it ends by `kill`. */
export async function listenIn({ pid }: TestNetwork, host: string, port: number): Promise<ChildProcess> {
  const script = `require('net').createServer().listen(${port}, '${host}', () => console.log('listens'))`;
  const listener = spawn('nsenter', [`--target=${pid}`, '--net', process.execPath, '-e', script]);
  await saysSomething(listener);
  return listener;
}

/** Resolves at the first output; throws when it ends before. */
export function saysSomething(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    child.stdout?.once('data', resolve);
    child.once('exit', (code) => reject(new Error(`it ended with ${code}`)));
  });
}
