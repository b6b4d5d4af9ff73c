import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cacheFolder } from '../../deploy/local/state.ts';

/** It and all that it needs, each in one version. */
const REQUIREMENTS = join(import.meta.dirname, 'requirements.txt');

/** Runs a command with this terminal's output and answers its exit status. */
export async function ended(command: string, args: readonly string[], cwd: string): Promise<number> {
  const child = spawn(command, args, { cwd, stdio: ['ignore', 'inherit', 'inherit'] });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}

/** Installs schemathesis into the cache when it is not there yet, and answers the path of its binary. */
export async function ensureSchemathesis(): Promise<string> {
  const digest = createHash('sha256').update(readFileSync(REQUIREMENTS)).digest('hex').slice(0, 8);
  const folder = join(cacheFolder(process.env), 'tools', `schemathesis-${digest}`);
  const binary = join(folder, 'bin', 'schemathesis');
  const complete = join(folder, 'complete');
  if (existsSync(complete)) return binary;
  // An environment of Python cannot be moved, so that one which is not complete is made again in its place.
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(dirname(folder), { recursive: true });
  const failed =
    (await ended('python3', ['-m', 'venv', folder], dirname(folder))) ||
    (await ended(join(folder, 'bin', 'pip'), ['install', '--quiet', '--no-deps', '-r', REQUIREMENTS], folder));
  if (failed) throw new Error('Cannot install schemathesis: see above. On Debian it needs the package python3-venv.');
  mkdirSync(complete);
  return binary;
}
