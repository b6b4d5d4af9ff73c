import { createHash } from 'node:crypto';
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PARTS } from './e2e/kills/part.ts';
import { readTracesBefore, startCluster, stopCluster } from './run/cluster.ts';
import { RESULTS, ROOT, runCommand } from './run/command.ts';
import { jest } from './run/jest.ts';
import { prepare } from './run/prepare.ts';
import { Report } from './run/report.ts';
import { type Result, resultOf, type Suite } from './run/suite.ts';

/**
 * Runs what takes long: `npm run test:long`. Parts by name as arguments: only those. A run that was cut off is taken up where it was: parts
 * that have passed with this very state of the checkout are not run again, unless they are named.
 */
interface Part extends Suite {
  readonly onCluster: boolean;
}

const PASSED = join(RESULTS, 'long-passed.json');

const onCluster = (name: string, budgetMinutes: number, ...args: readonly string[]): Part => ({
  name,
  budgetSeconds: budgetMinutes * 60,
  onCluster: true,
  run: () => jest('e2e-long', '--runInBand', ...args),
});

const LONG: readonly Part[] = [
  { name: 'workflows', budgetSeconds: 600, onCluster: false, run: () => jest('workflows-long', '--runInBand') },
  { name: 'unit', budgetSeconds: 300, onCluster: false, run: () => jest('unit-long', '--runInBand') },
  { name: 'chart', budgetSeconds: 600, onCluster: false, run: () => jest('chart-long', '--runInBand') },
  { name: 'kernel', budgetSeconds: 420, onCluster: false, run: () => jest('kernel-long', '--runInBand') },
  { name: 'fuzz', budgetSeconds: 900, onCluster: false, run: () => script('fuzz-long', 'fuzz/run.ts') },
  onCluster('burst', 12, 'burst'),
  ...PARTS.map((part) => onCluster(`kill ${part}`, 3, 'kills', '--globals', JSON.stringify({ killed: part }))),
  onCluster('node gone', 5, 'node-gone'),
  onCluster('reboot', 5, 'reboot'),
  onCluster('idle', 3, 'idle'),
  onCluster('patience', 2, 'patience'),
  onCluster('right after', 5, 'right-after'),
  onCluster('namespaces', 3, 'namespaces'),
  onCluster('device plugins', 10, 'e2e/plugins/'),
  onCluster('blocked', 4, 'blocked'),
  onCluster('upgrade', 6, 'upgrade'),
  // Last but for chaos: they install the product anew.
  onCluster('quick start', 6, 'quick-start'),
  onCluster('cert-manager', 12, 'cert-manager'),
  onCluster('removal', 15, 'removal'),
  ...[1, 2].map(
    (seed): Part => ({
      name: `chaos ${seed}`,
      budgetSeconds: 1_200,
      onCluster: true,
      run: () => script(`chaos-${seed}`, 'chaos/main.ts', '--faults', '300', '--seed', String(seed)),
    }),
  ),
];

/** A script below `test/` that says by its exit status whether it has passed. */
async function script(name: string, path: string, ...more: readonly string[]): Promise<Result> {
  const logFile = join(RESULTS, `${name}.log`);
  return resultOf(
    await runCommand(logFile, process.execPath, ['--no-warnings', join(ROOT, 'test', path), ...more]),
    logFile,
  );
}

/** Names what is tested: everything in the checkout that is not made by installing and testing it. */
function checkout(): string {
  const made = ['.git', '.local', 'coverage', 'node_modules'];
  const files = globSync('**/*', { cwd: ROOT, withFileTypes: true, exclude: ({ name }) => made.includes(name) });
  const digest = createHash('sha256');
  for (const path of files
    .filter((file) => file.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
    .sort())
    digest.update(path).update(readFileSync(path));
  return digest.digest('hex');
}

function passedBefore(state: string): string[] {
  if (!existsSync(PASSED)) return [];
  const last = JSON.parse(readFileSync(PASSED, 'utf8')) as { readonly state: string; readonly passed: string[] };
  return last.state === state ? last.passed : [];
}

const names = process.argv.slice(2);
const unknown = names.filter((name) => !LONG.some((part) => part.name === name));
if (unknown.length > 0)
  throw new Error(`Cannot run "${unknown.join(' ')}": the parts are ${LONG.map(({ name }) => `"${name}"`).join(', ')}`);

await prepare('tests');
const state = checkout();
const passed = passedBefore(state);
const isWanted = ({ name }: Part): boolean => (names.length > 0 ? names.includes(name) : !passed.includes(name));
const parts = LONG.filter(isWanted);
const report = new Report();
for (const name of passed) if (names.length === 0) report.note(`Passed before: ${name}`);
const needsCluster = parts.some((part) => part.onCluster);
const traces = needsCluster ? await readTracesBefore() : [];
const isReady =
  needsCluster && (await report.run({ name: 'cluster start', budgetSeconds: 60, run: () => startCluster() }));
for (const part of parts.filter(({ onCluster }) => isReady || !onCluster)) {
  if (!(await report.run(part))) continue;
  passed.push(part.name);
  writeFileSync(PASSED, JSON.stringify({ state, passed }));
}
if (needsCluster) await report.run({ name: 'cluster stop', budgetSeconds: 20, run: () => stopCluster(traces) });
process.exitCode = report.end();
