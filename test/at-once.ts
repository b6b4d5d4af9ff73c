import { globSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { describe, jest, test } from '@jest/globals';

const ROOT = join(import.meta.dirname, '..');
/**
 * Only detects what hangs: the machine may be slow and stand still for seconds. A file that asks for less must not decide for the
 * others.
 */
const TIMEOUT_MS = 600_000;

interface Globals {
  readonly testMatch: readonly string[];
  readonly testPathIgnorePatterns: readonly string[];
  /** Of all files every `of`th, from the `part`th on. */
  readonly part: number;
  readonly of: number;
}

/** Set by jest.config.mjs. */
const { testMatch, testPathIgnorePatterns, part, of } = globalThis as unknown as Globals;

const require = createRequire(import.meta.url);
const ignored = new RegExp(testPathIgnorePatterns.join('|'));
const files = globSync([...testMatch], { cwd: ROOT })
  .toSorted()
  .filter((file) => !ignored.test(file));

/**
 * Runs all test files of a suite as one, or as a few. Jest loads everything a file imports anew for each, which takes a second of
 * processor time: most of what a unit test needs. The price is that the files share their modules. A failure is looked into with the
 * file alone.
 */
for (const file of files.filter((_file, index) => index % of === part - 1)) {
  describe(file, () => {
    try {
      require(join(ROOT, file));
    } catch (err) {
      // The other files run all the same.
      test('can be loaded', () => {
        throw err;
      });
    }
  });
}
jest.setTimeout(TIMEOUT_MS);
