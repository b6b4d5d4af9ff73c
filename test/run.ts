import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { withoutBtrfs, withoutV1 } from './kernel/places.ts';
import { readTracesBefore, startCluster, stopCluster } from './run/cluster.ts';
import { RESULTS, ROOT, runCommand } from './run/command.ts';
import { BESIDE, jest, jestBeside } from './run/jest.ts';
import { prepare } from './run/prepare.ts';
import { Report } from './run/report.ts';
import { type Result, resultOf, type Suite } from './run/suite.ts';

/**
 * Runs everything: `npm test`. Suites by name as arguments: only those. Its last line counts all tests together. What needs the machine
 * runs one after the other: what changes settings of its kernel, while the cluster of the end-to-end tests starts; a lane of tests for
 * each node and one for the kernel, side by side; what concerns the whole cluster. Beside all that, with what they leave of the
 * processors, run the suites that need nothing.
 */
const MACHINE: Suite = { name: 'machine', budgetSeconds: 130, run: () => jest('machine-at-once', '--runInBand') };
const START: Suite = { name: 'cluster start', budgetSeconds: 70, run: () => startCluster() };
const NODES: readonly Suite[] = ['node-1', 'node-2', 'node-3'].map((name) => ({
  name,
  budgetSeconds: 840,
  run: () => jest(name, '--runInBand'),
}));
const KERNEL: Suite = { name: 'kernel', budgetSeconds: 900, run: () => jest('kernel-at-once', '--runInBand') };
const CLUSTER: Suite = { name: 'e2e', budgetSeconds: 800, run: () => jest('e2e', '--runInBand') };
const BESIDES: readonly Suite[] = [
  { name: 'check', budgetSeconds: 90, run: check },
  { name: 'unit', budgetSeconds: 780, run: () => jestBeside('unit-at-once', '--runInBand') },
  { name: 'fuzz', budgetSeconds: 200, run: fuzz },
];
/** It needs most: the tests of the whole cluster wait most. */
const WORKFLOWS: Suite = {
  name: 'workflows',
  budgetSeconds: 560,
  run: () => jestBeside('workflows-at-once-1', 'workflows-at-once-2', '--maxWorkers=2'),
};

async function check(): Promise<Result> {
  const logFile = join(RESULTS, 'check.log');
  return resultOf(await runCommand(logFile, 'npm', ['run', '--silent', 'check'], { niceness: BESIDE }), logFile);
}

/** A short run; each operation of the API counts once. `npm run test:long` has the long one. */
async function fuzz(): Promise<Result> {
  const [logFile, counts] = [join(RESULTS, 'fuzz.log'), join(RESULTS, 'fuzz.json')];
  const args = ['--no-warnings', join(ROOT, 'test', 'fuzz', 'run.ts'), '50', counts];
  const code = await runCommand(logFile, process.execPath, args, { niceness: BESIDE });
  if (code !== 0) return resultOf(code, logFile);
  const { passed, failed } = JSON.parse(readFileSync(counts, 'utf8')) as Pick<Result, 'passed' | 'failed'>;
  return { passed, failed, tests: [], logFile };
}

const names = process.argv.slice(2);
const known = [MACHINE, ...NODES, KERNEL, CLUSTER, ...BESIDES, WORKFLOWS].map(({ name }) => name);
const unknown = names.filter((name) => !known.includes(name));
if (unknown.length > 0) throw new Error(`Cannot run "${unknown.join(' ')}": the suites are ${known.join(', ')}`);
const isWanted = ({ name }: Suite): boolean => names.length === 0 || names.includes(name);

await prepare('tests');
let interrupted = false;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => (interrupted = true));
const report = new Report();
report.note(withoutV1());
report.note(withoutBtrfs());
const needsCluster = [...NODES, CLUSTER].some(isWanted);
const traces = needsCluster ? await readTracesBefore() : [];
const starting = needsCluster ? report.run(START) : undefined;
const besides = oneByOne(BESIDES);
await oneByOne([MACHINE]);
const isReady = await starting;
await Promise.all([...(isReady ? NODES : []), KERNEL].map((suite) => oneByOne([suite])));
await Promise.all([oneByOne(isReady ? [CLUSTER] : []), besides.then(() => oneByOne([WORKFLOWS]))]);
if (needsCluster) await report.run({ name: 'cluster stop', budgetSeconds: 20, run: () => stopCluster(traces) });
process.exitCode = report.end();

/** Those that are wanted, until somebody stops the run. */
async function oneByOne(suites: readonly Suite[]): Promise<void> {
  for (const suite of suites.filter(isWanted)) if (!interrupted) await report.run(suite);
}
