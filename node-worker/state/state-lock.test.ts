import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';

const MODULE = new URL('./state-lock.ts', import.meta.url).href;
const PROGRAM = `
  import { lockState } from ${JSON.stringify(MODULE)};
  await lockState(process.argv[1], (sentence) => console.log(sentence));
  console.log('locked');
  setInterval(() => undefined, 1_000);
`;

let dir = '';
const workers: ChildProcess[] = [];
beforeEach(() => {
  dir = join(mkdtempSync(join(tmpdir(), 'lock-')), 'state');
});
afterEach(() => {
  for (const worker of workers.splice(0)) worker.kill('SIGKILL');
  rmSync(join(dir, '..'), { recursive: true });
});

/** A process that locks the directory, and the next line it writes. */
function start(): { readonly worker: ChildProcess; readonly line: () => Promise<string> } {
  const worker = spawn(process.execPath, ['--input-type=module', '--eval', PROGRAM, dir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  workers.push(worker);
  const lines = worker.stdout?.setEncoding('utf8');
  return { worker, line: async () => String((await once(lines ?? worker, 'data'))[0]).trim() };
}

test('lockState() waits for the process that has the directory, and says so, until that one is killed', async () => {
  const first = start();
  expect(await first.line()).toBe('locked');
  const second = start();
  expect(await second.line()).toBe(`process ${first.worker.pid} still uses "${dir}": waiting until it has ended`);
  const next = second.line();
  // Nothing of it is left to clean up after itself.
  first.worker.kill('SIGKILL');
  expect(await next).toBe('locked');
  expect(existsSync(join(dir, 'lock'))).toBe(true);
});

test('lockState() does not wait after a worker that ended', async () => {
  const first = start();
  await first.line();
  first.worker.kill('SIGKILL');
  await once(first.worker, 'exit');
  expect(await start().line()).toBe('locked');
});
