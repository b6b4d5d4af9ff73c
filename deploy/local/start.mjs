// Entry of `npm start`, `npm stop` and `npm test`. Plain JavaScript for any Node from 20 on: it gets the Node that the rest is written for, by
// installing the dependencies, and hands over.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

// import.meta.dirname is younger than Node 20.0.
const folder = dirname(fileURLToPath(import.meta.url));
const root = resolve(folder, '../..');
const node = join(root, 'node_modules', '.bin', 'node');
const lock = join(root, 'package-lock.json');
/** Written by npm at the end of an installation. */
const installed = join(root, 'node_modules', '.package-lock.json');

function refuse(sentence) {
  console.error(sentence);
  process.exit(1);
}

if (Number(process.versions.node.split('.')[0]) < 20) refuse(`Node 20 or newer is needed, this is ${process.version}.`);
if (process.platform !== 'linux') refuse(`Linux is needed, this is ${process.platform}.`);
if (process.getuid() !== 0) refuse('Root is needed to make containers and cgroups: run it with sudo.');

if (!existsSync(node) || !existsSync(installed) || statSync(installed).mtimeMs < statSync(lock).mtimeMs) {
  console.log('npm install (dependencies are missing or older than package-lock.json)');
  // Not `npm ci`: it refuses a lock file without the optional packages of other platforms, which not every registry has.
  const { status, error } = spawnSync('npm', ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: 'inherit',
  });
  if (error !== undefined) refuse(`Cannot run npm: ${error.message}`);
  if (status !== 0) process.exit(status ?? 1);
}

const [command, ...rest] = process.argv.slice(2);
const scripts = { test: [join(root, 'test', 'run.ts')], 'test:long': [join(root, 'test', 'long.ts')] };
const script = scripts[command] ?? [join(folder, 'main.ts'), command ?? 'start'];
const child = spawn(node, ['--no-warnings', ...script, ...rest], { stdio: 'inherit' });
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 1)));
