import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ensureSystemPackages, missingPrerequisites } from '../deploy/local/prerequisites.ts';
import { elapsed, Progress } from '../deploy/local/progress.ts';
import { statePaths } from '../deploy/local/state.ts';
import { ensureTools } from '../deploy/local/tools.ts';

/** Runs everything: `npm test`. Suites by name as arguments: only those. Its last line counts all tests together. */
const ROOT = join(import.meta.dirname, '..');
const RESULTS = join(ROOT, '.local', 'test-results');
const LOCAL = join(ROOT, 'deploy', 'local', 'main.ts');

interface Counts {
  readonly passed: number;
  readonly failed: number;
}

interface Suite {
  readonly name: string;
  readonly run: () => Promise<Counts>;
}

const SUITES: readonly Suite[] = [
  { name: 'check', run: async () => countOf(await ended('npm', ['run', '--silent', 'check'])) },
  { name: 'unit', run: () => jest('unit') },
  { name: 'workflows', run: () => jest('workflows') },
  { name: 'fuzz', run: fuzz },
  { name: 'kernel', run: () => jest('kernel') },
  { name: 'e2e', run: onCluster },
];

/** The end-to-end tests on a cluster of their own, which is taken down whatever happens. */
async function onCluster(): Promise<Counts> {
  if (await ended(process.execPath, [LOCAL, 'start', '--detach', '--no-demo', '--nodes', '3'])) {
    await ended(process.execPath, [LOCAL, 'stop']);
    return { passed: 0, failed: 1 };
  }
  const counts = await jest('e2e');
  const stopped = countOf(await ended(process.execPath, [LOCAL, 'stop']));
  return { passed: counts.passed, failed: counts.failed + stopped.failed };
}

/** A short run; each operation of the API counts once. `npm run test:fuzz` is the long one. */
async function fuzz(): Promise<Counts> {
  const report = join(RESULTS, 'fuzz.json');
  rmSync(report, { force: true });
  const code = await ended(process.execPath, ['--no-warnings', join(ROOT, 'test', 'fuzz', 'run.ts'), '20', report]);
  if (code !== 0) return countOf(code);
  return JSON.parse(readFileSync(report, 'utf8')) as Counts;
}

const countOf = (code: number): Counts => (code === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 });

/** Runs a command with this terminal's output and answers its exit status; 1 when a signal ended it. */
async function ended(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<number> {
  const child = spawn(command, args, {
    cwd: ROOT,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, ...env },
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}

/** A skipped or unfinished test counts as failed: it proves nothing. */
async function jest(project: string): Promise<Counts> {
  const outputFile = join(RESULTS, `${project}.json`);
  rmSync(outputFile, { force: true });
  const args = ['--selectProjects', project, '--json', '--outputFile', outputFile];
  // Those of workflows mostly wait, each file for a Temporal of its own.
  if (project === 'workflows') args.push('--maxWorkers=2');
  else if (project !== 'unit') args.push('--runInBand');
  // By this Node: the one on the PATH may be an older one.
  const code = await ended(process.execPath, [join(ROOT, 'node_modules', 'jest', 'bin', 'jest.js'), ...args], {
    NODE_OPTIONS: '--experimental-vm-modules --no-warnings',
  });
  const result = JSON.parse(readFileSync(outputFile, 'utf8')) as Record<string, number>;
  const count = (name: string): number => result[name] ?? 0;
  const failed =
    count('numFailedTests') + count('numPendingTests') + count('numTodoTests') + count('numRuntimeErrorTestSuites');
  return { passed: count('numPassedTests'), failed: failed === 0 && code !== 0 ? 1 : failed };
}

/** The suites find the servers in the cache; a first run builds them. */
async function prepare(): Promise<void> {
  const problems = missingPrerequisites();
  if (problems.length > 0) throw new Error(problems.join('\n'));
  const progress = new Progress(process.stdout);
  const log = join(statePaths(process.env).root, 'build-log');
  await ensureSystemPackages(progress, log, 'tests');
  await ensureTools(progress, log);
}

mkdirSync(RESULTS, { recursive: true });
const names = process.argv.slice(2);
const unknown = names.filter((name) => !SUITES.some((suite) => suite.name === name));
if (unknown.length > 0)
  throw new Error(`Cannot run "${unknown.join(' ')}": the suites are ${SUITES.map(({ name }) => name).join(', ')}`);
await prepare();
const lines: string[] = [];
let total: Counts = { passed: 0, failed: 0 };
for (const { name, run } of SUITES.filter((suite) => names.length === 0 || names.includes(suite.name))) {
  console.log(`\n== ${name}`);
  const started = performance.now();
  const counts = await run();
  total = { passed: total.passed + counts.passed, failed: total.failed + counts.failed };
  lines.push(`${name}: ${counts.passed} passed, ${counts.failed} failed, ${elapsed(performance.now() - started)}`);
}
console.log(`\n${lines.join('\n')}\n${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed === 0 ? 0 : 1;
