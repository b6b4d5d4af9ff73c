import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { linesOf } from './lines.ts';
import { lookForUsers } from './look-for-users.ts';
import { threadsWithTables } from './thread-tables.ts';

let folder: string;
let holder: ChildProcess;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'users-'));
  holder = spawn('sh', ['-c', 'exec 3</dev/full; echo; exec sleep 1000'], { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((resolve) => holder.stdout?.once('data', resolve));
  writeFileSync(join(folder, 'cgroup.procs'), `${holder.pid}\n`);
});
afterAll(() => {
  holder.kill('SIGKILL');
  rmSync(folder, { recursive: true });
});

test('lookForUsers() finds a process by the number of the device that it has open', () => {
  const full = { type: 'c', major: 1, minor: 7 } as const;
  const look = { cgroup: folder, init: holder.pid ?? 0, devices: [full], frozen: true };
  expect(lookForUsers(look)).toMatchObject({
    users: [{ pid: holder.pid, containerInit: true, via: 'fd', device: 'c 1:7' }],
    restless: false,
  });
  expect(lookForUsers({ ...look, devices: [{ ...full, minor: 9 }] }).users).toEqual([]);
});

test('threadsWithTables() names one thread of those that share a table', () => {
  const threads = readdirSync('/proc/self/task');
  expect(threads.length).toBeGreaterThan(1);
  expect(threadsWithTables(threads)).toEqual([String(process.pid)]);
  expect(threadsWithTables([...threads, String(holder.pid)])).toHaveLength(2);
});

test('linesOf() gives the lines of a file of any length, one piece after the other', () => {
  const file = join(folder, 'lines');
  const lines = Array.from({ length: 20_000 }, (_, index) => `${index} ${'x'.repeat(index % 50)}`);
  for (const end of ['', '\n']) {
    writeFileSync(file, lines.join('\n') + end);
    expect([...linesOf(file)]).toEqual(lines);
  }
  expect([...linesOf('/proc/self/maps')].length).toBeGreaterThan(10);
  expect(readFileSync('/proc/self/maps', 'latin1').split('\n').length).toBeGreaterThan(10);
});

test('linesOf() refuses what is too long, as a whole or as one line', () => {
  const file = join(folder, 'long');
  writeFileSync(file, 'line\n'.repeat(100_000));
  expect(() => [...linesOf(file, 300_000)]).toThrow('too long');
  expect(() => [...linesOf('/dev/zero')]).toThrow('too long');
});
