import { afterEach, expect, jest, test } from '@jest/globals';
import { Report } from '../run/report.ts';
import type { Result } from '../run/suite.ts';

afterEach(() => void jest.restoreAllMocks());

/** What is printed at the end of a run in which a suite answers this. */
async function summaryOf(result: Omit<Result, 'tests' | 'logFile'>): Promise<readonly string[]> {
  const print = jest.spyOn(console, 'log').mockReturnValue(undefined);
  const report = new Report();
  await report.run({
    name: 'some',
    budgetSeconds: 60,
    run: () => Promise.resolve({ ...result, tests: [], logFile: '/dev/null' }),
  });
  print.mockClear();
  report.end();
  return print.mock.calls.flat().join('\n').split('\n');
}

test('the summary tells again what has failed, and its last line counts', async () => {
  const failures = Array.from({ length: 32 }, (_, index) => `test ${index}:\n    why ${index}`);
  const summary = await summaryOf({ passed: 7, failed: 32, failures });
  expect(summary).toEqual(expect.arrayContaining(['Failed:', 'test 0:', '    why 19', 'and 12 more']));
  expect(summary).not.toContain('test 20:');
  expect(summary.at(-1)).toBe('7 passed, 32 failed');
});

test('the summary names a suite that does not say what has failed', async () => {
  expect(await summaryOf({ passed: 0, failed: 1 })).toContain('some: see its output');
});

test('the summary of a run that has passed speaks of no failure', async () => {
  expect((await summaryOf({ passed: 7, failed: 0 })).join('\n')).not.toMatch(/Failed|see its output/);
});
