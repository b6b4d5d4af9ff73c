/** What a suite answers. */
export interface Result {
  readonly passed: number;
  readonly failed: number;
  readonly tests: readonly TimedTest[];
  /** What failed and why, a line or a few each; may be empty. */
  readonly failures?: readonly string[];
  /** Its output. */
  readonly logFile: string;
}

export interface TimedTest {
  readonly name: string;
  readonly ms: number;
}

/** Tests that run in one go. */
export interface Suite {
  readonly name: string;
  /** What it may take on 2 quiet cores with a warm cache, while what runs beside it does. */
  readonly budgetSeconds: number;
  readonly run: () => Promise<Result>;
}

/** Of a command that counts as one test. */
export function resultOf(code: number, logFile: string): Result {
  return { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, tests: [], logFile };
}
