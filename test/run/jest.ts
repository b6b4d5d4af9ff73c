import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { RESULTS, ROOT, runCommand } from './command.ts';
import { type Result, resultOf, type TimedTest } from './suite.ts';

/** Niceness of what is not waited for: a third of what others get. */
export const BESIDE = 5;
/** It may stand still for seconds. */
const BESIDE_TIMEOUT_MS = 30_000;

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly numRuntimeErrorTestSuites: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly assertionResults: readonly { readonly fullName: string; readonly duration?: number | null }[];
  }[];
}

/**
 * Runs a project of jest.config.mjs. A skipped or unfinished test counts as failed: it proves nothing.
 * @param more projects that run with it, then options
 */
export const jest = (project: string, ...more: readonly string[]): Promise<Result> => runJest(project, more, 0);

/** Likewise beside suites that matter more. */
export const jestBeside = (project: string, ...more: readonly string[]): Promise<Result> =>
  runJest(project, [...more, `--testTimeout=${BESIDE_TIMEOUT_MS}`], BESIDE);

async function runJest(project: string, more: readonly string[], niceness: number): Promise<Result> {
  const outputFile = join(RESULTS, `${project}.json`);
  const logFile = join(RESULTS, `${project}.log`);
  rmSync(outputFile, { force: true });
  const args = ['--json', '--outputFile', outputFile, '--selectProjects', project, ...more];
  // By this Node: the one on the PATH may be an older one.
  const code = await runCommand(
    logFile,
    process.execPath,
    [join(ROOT, 'node_modules', 'jest', 'bin', 'jest.js'), ...args],
    { env: { NODE_OPTIONS: '--experimental-vm-modules --no-warnings' }, niceness },
  );
  // Without a report nothing was run, and the output says why.
  if (!existsSync(outputFile)) return resultOf(1, logFile);
  const report = JSON.parse(readFileSync(outputFile, 'utf8')) as Report;
  const failed =
    report.numFailedTests + report.numPendingTests + report.numTodoTests + report.numRuntimeErrorTestSuites;
  return {
    passed: report.numPassedTests,
    failed: failed === 0 && code !== 0 ? 1 : failed,
    tests: timesOf(project, report),
    logFile,
  };
}

function timesOf(project: string, { testResults }: Report): readonly TimedTest[] {
  return testResults.flatMap(({ name, assertionResults }) =>
    assertionResults.map(({ fullName, duration }) => ({ name: nameOf(project, name, fullName), ms: duration ?? 0 })),
  );
}

/** The name of a test that runs with all others of its suite begins with its file. */
function nameOf(project: string, file: string, test: string): string {
  const suite = project.replace(/-at-once(-\d+)?$/, '');
  return suite === project ? `${project} ${relative(ROOT, file)}: ${test}` : `${suite} ${test}`;
}
