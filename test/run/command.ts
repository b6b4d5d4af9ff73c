import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { setPriority } from 'node:os';
import { dirname, join } from 'node:path';

export const ROOT = join(import.meta.dirname, '..', '..');
export const RESULTS = join(ROOT, '.local', 'test-results');

export interface CommandOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** nice(1) of it and of all that it starts. */
  readonly niceness?: number;
  /** After this time it is killed. */
  readonly timeoutMs?: number;
}

/** Runs a command to its end with all output in `logFile` and answers its exit status; 1 when a signal ended it. */
export async function runCommand(
  logFile: string,
  command: string,
  args: readonly string[],
  { env = {}, niceness = 0, timeoutMs }: CommandOptions = {},
): Promise<number> {
  mkdirSync(dirname(logFile), { recursive: true });
  const log = openSync(logFile, 'w');
  const child = spawn(command, args, {
    cwd: ROOT,
    stdio: ['ignore', log, log],
    env: { ...process.env, ...env },
    ...(timeoutMs !== undefined && { timeout: timeoutMs, killSignal: 'SIGKILL' }),
  });
  closeSync(log);
  if (child.pid !== undefined && niceness > 0) setPriority(child.pid, niceness);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}
