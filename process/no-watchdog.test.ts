import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';

/** Takes longer than the limit that it is given, in a thread as the SDK has one for workflows. */
const SCRIPT = `
  const { Worker } = require('node:worker_threads');
  const inThread = () => {
    const { createContext, Script } = require('node:vm');
    const slow = new Script('const end = Date.now() + 2_000; while (Date.now() < end); "ended"');
    const run = () => {
      try {
        return slow.runInContext(createContext({ Date }), { timeout: 1, displayErrors: true });
      } catch (err) {
        return err.code;
      }
    };
    console.log(run());
  };
  new Worker(\`(\${inThread})()\`, { eval: true });
`;
const MODULE = join(import.meta.dirname, 'no-watchdog.ts');
const says = (...options: readonly string[]): string =>
  execFileSync(process.execPath, ['--no-warnings', ...options, '-e', SCRIPT], { encoding: 'utf8', env: {} }).trim();

describe('no-watchdog.ts', () => {
  test('takes the limit from a script in a thread', () => {
    expect(says()).toBe('ERR_SCRIPT_EXECUTION_TIMEOUT');
    expect(says(`--require=${MODULE}`)).toBe('ended');
  });

  test('is preloaded by the control worker', () => {
    const manifest = readFileSync(join(import.meta.dirname, '../deploy/device-mounter-apiserver.yaml'), 'utf8');
    expect(manifest).toMatch(/args: \[.*--require=\.\/process\/no-watchdog\.ts, .*workflows\/main\.ts\]/);
  });
});
