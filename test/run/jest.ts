import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { RESULTS, ROOT, runCommand } from './command.ts';
import { type Result, resultOf, type TimedTest } from './suite.ts';

/** Niceness of what is not waited for: a third of what others get. */
export const BESIDE = 5;
/** What the control worker preloads, for tests that run its workflows: a limit of 5 s for a call would fail tasks on a busy machine. */
const PRELOADED = ['no-watchdog', 'no-stack-traces'].map((name) => `--require=${join(ROOT, 'process', `${name}.ts`)}`);
/** Longer than any suite takes on a slow machine. Jest's limit of a test ends nothing that never comes back to the event loop. */
const HANGS_MS = 45 * 60_000;
/** Of a failure, for the summary. */
const FIRST_LINES = 6;
const LINE_LENGTH = 160;

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly numRuntimeErrorTestSuites: number;
  readonly testResults: readonly {
    readonly name: string;
    /** Of a file that cannot be loaded: why. */
    readonly message: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly duration?: number | null;
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

/**
 * Runs a project of jest.config.mjs. A skipped or unfinished test counts as failed: it proves nothing.
 * @param more projects that run with it, then options
 */
export const jest = (project: string, ...more: readonly string[]): Promise<Result> => runJest(project, more, 0);

/** Likewise, with less processor time than the suites beside it that are waited for. */
export const jestBeside = (project: string, ...more: readonly string[]): Promise<Result> =>
  runJest(project, more, BESIDE);

async function runJest(project: string, more: readonly string[], niceness: number): Promise<Result> {
  const outputFile = join(RESULTS, `${project}.json`);
  const logFile = join(RESULTS, `${project}.log`);
  rmSync(outputFile, { force: true });
  const args = ['--json', '--outputFile', outputFile, '--selectProjects', project, ...more];
  const preloaded = project.startsWith('workflows') ? PRELOADED : [];
  // By this Node: the one on the PATH may be an older one.
  const code = await runCommand(
    logFile,
    process.execPath,
    [join(ROOT, 'node_modules', 'jest', 'bin', 'jest.js'), ...args],
    {
      env: { NODE_OPTIONS: ['--experimental-vm-modules', '--no-warnings', ...preloaded].join(' ') },
      niceness,
      timeoutMs: HANGS_MS,
    },
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
    ...(failed > 0 && { failures: failuresOf(project, report) }),
    logFile,
  };
}

function timesOf(project: string, { testResults }: Report): readonly TimedTest[] {
  return testResults.flatMap(({ name, assertionResults }) =>
    assertionResults.map(({ fullName, duration }) => ({ name: nameOf(project, name, fullName), ms: duration ?? 0 })),
  );
}

function failuresOf(project: string, { testResults }: Report): readonly string[] {
  return testResults.flatMap(({ name, message, assertionResults }) =>
    assertionResults.length === 0
      ? [`${project} ${relative(ROOT, name)}:\n${beginning(message)}`]
      : assertionResults
          .filter(({ status }) => status !== 'passed')
          .map(
            ({ fullName, status, failureMessages: [why = status] }) =>
              `${nameOf(project, name, fullName)}:\n${beginning(why)}`,
          ),
  );
}

/** Without colours, indented; the rest is in the output. */
function beginning(message: string): string {
  const lines = stripVTControlCharacters(message)
    .split('\n')
    .filter((line) => line.trim() !== '');
  return lines
    .slice(0, FIRST_LINES)
    .map((line) => `    ${line.trim().slice(0, LINE_LENGTH)}`)
    .join('\n');
}

/** The name of a test that runs with all others of its suite begins with its file. */
function nameOf(project: string, file: string, test: string): string {
  const suite = project.replace(/-at-once(-\d+)?$/, '');
  return suite === project ? `${project} ${relative(ROOT, file)}: ${test}` : `${suite} ${test}`;
}
