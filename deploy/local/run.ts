import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';

const execFileAsync = promisify(execFile);
const running = new Set<ChildProcess>();

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Ends the command. */
  readonly signal?: AbortSignal;
}

/** Runs a command to its end and answers its standard output. Throws with its standard error when it fails. */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { stdout } = await execFileAsync(command, args, { ...options, maxBuffer: 64 << 20 });
  return stdout;
}

/** As `run`, for what a caller has to know at once. */
export function runSync(command: string, args: readonly string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', stdio: 'pipe' });
}

/** Runs a command to its end with all output in `logFile`. Throws with the end of that file when it fails. */
export async function runToFile(
  command: string,
  args: readonly string[],
  logFile: string,
  options: RunOptions = {},
): Promise<void> {
  mkdirSync(dirname(logFile), { recursive: true });
  const log = openSync(logFile, 'w');
  const child = spawn(command, args, { ...options, stdio: ['ignore', log, log] });
  closeSync(log);
  running.add(child);
  const code = await new Promise<number | string>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (status, signal) => resolve(status ?? signal ?? 'unknown'));
  }).finally(() => running.delete(child));
  if (code !== 0) {
    const tail = readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-15).join('\n');
    throw new Error(`Cannot run "${command} ${args[0] ?? ''}": ended with ${code}, see ${logFile}\n${tail}`);
  }
}

/** Asks the commands that write to a file (long builds, installations) to end. */
export function endRunning(): void {
  for (const child of running) child.kill('SIGTERM');
}
