import { readFileSync } from 'node:fs';
import { elapsed } from '../../deploy/local/progress.ts';
import type { Result, Suite, TimedTest } from './suite.ts';

const SLOWEST = 10;
/** Of failures, those that are told again at the end, where all of the output is too much to keep. */
const TOLD_AGAIN = 20;

/** Collects what suites answer, prints each suite when it has ended, and all of it at the end. */
export class Report {
  readonly #lines: string[] = [];
  readonly #tests: TimedTest[] = [];
  readonly #failures: string[] = [];
  readonly #notes: string[] = [];
  readonly #started = performance.now();
  #passed = 0;
  #failed = 0;

  /** Runs a suite; answers whether all of it passed. One that throws has failed, and the others go on. */
  async run({ name, budgetSeconds, run }: Suite): Promise<boolean> {
    const started = performance.now();
    console.log(`-- ${name} begins`);
    const result = await run().catch((err: unknown): Result => {
      console.log(err);
      return { passed: 0, failed: 1, tests: [], logFile: '/dev/null' };
    });
    const tookMs = performance.now() - started;
    this.#passed += result.passed;
    this.#failed += result.failed;
    this.#tests.push(...result.tests);
    if (result.failed > 0) this.#failures.push(...(result.failures ?? [`${name}: see its output`]));
    const budget = `budget ${elapsed(budgetSeconds * 1_000)}${tookMs > budgetSeconds * 1_000 ? ', EXCEEDED' : ''}`;
    this.#lines.push(`${name}: ${result.passed} passed, ${result.failed} failed, ${elapsed(tookMs)} (${budget})`);
    console.log(`\n== ${name}\n${readFileSync(result.logFile, 'utf8')}`);
    return result.failed === 0;
  }

  /** A sentence for the summary, if there is one. */
  note(sentence: string | undefined): void {
    if (sentence !== undefined) this.#notes.push(sentence);
  }

  /** Prints the summary; its last line counts all tests. Answers the exit status. */
  end(): number {
    const slowest = this.#tests.toSorted((a, b) => b.ms - a.ms).slice(0, SLOWEST);
    const total = `Total: ${elapsed(performance.now() - this.#started)}`;
    const slow = slowest.map(({ name, ms }) => `  ${elapsed(ms)}  ${name}`);
    console.log(['', ...this.#lines, 'Slowest tests:', ...slow, ...this.#notes, ...this.#told(), total].join('\n'));
    console.log(`${this.#passed} passed, ${this.#failed} failed`);
    return this.#failed === 0 ? 0 : 1;
  }

  #told(): readonly string[] {
    if (this.#failures.length === 0) return [];
    const more = this.#failures.length - TOLD_AGAIN;
    return ['Failed:', ...this.#failures.slice(0, TOLD_AGAIN), ...(more > 0 ? [`and ${more} more`] : [])];
  }
}
