import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';

/** What the SDK's thread for workflows does at its start, and whether it collects stacks then. */
const SCRIPT = `
  const { Worker } = require('node:worker_threads');
  const inThread = () => {
    const { globalHandlers } = require('@temporalio/worker/lib/workflow/vm-shared');
    globalHandlers.install();
    console.log(globalHandlers.promiseHookInstalled);
  };
  new Worker(\`(\${inThread})()\`, { eval: true, stderr: true });
`;
const MODULE = join(import.meta.dirname, 'no-stack-traces.ts');
const collects = (...options: readonly string[]): string =>
  execFileSync(process.execPath, ['--no-warnings', ...options, '-e', SCRIPT], { encoding: 'utf8', env: {} }).trim();

describe('no-stack-traces.ts', () => {
  test('keeps the SDK from collecting the stack of each promise in a thread', () => {
    expect(collects()).toBe('true');
    expect(collects(`--require=${MODULE}`)).toBe('false');
  });

  test('is preloaded by the control worker', () => {
    const manifest = readFileSync(join(import.meta.dirname, '../deploy/device-mounter-apiserver.yaml'), 'utf8');
    expect(manifest).toMatch(/args: \[.*--require=\.\/process\/no-stack-traces\.ts, .*workflows\/main\.ts\]/);
  });
});
