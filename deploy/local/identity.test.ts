import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { identityOf, livePid, type ProcessIdentity, startTicksOf, writeIdentity } from './identity.ts';

let folder: string;
let file: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'identity-'));
  file = join(folder, 'pids', 'server');
});
afterAll(() => rmSync(folder, { recursive: true }));

function self(): ProcessIdentity {
  const identity = identityOf(process.pid);
  if (identity === undefined) throw new Error('Cannot find this process');
  return identity;
}

describe('startTicksOf()', () => {
  const fields = Array.from({ length: 49 }, (_, index) => String(index + 4)).join(' ');

  test.each(['node', 'a b', 'x) S 1 2 (y', '))'])('finds field 22 behind the name "%s"', (name) => {
    expect(startTicksOf(`77 (${name}) S ${fields}\n`)).toBe('22');
  });

  test('refuses text that ends early', () => {
    expect(() => startTicksOf('77 (node) S 1 2')).toThrow('52 fields');
  });
});

describe('livePid()', () => {
  test('answers the pid of a process that runs', () => {
    writeIdentity(file, self());
    expect(livePid(file)).toBe(process.pid);
  });

  test('answers nothing when the pid was given to another process', () => {
    writeIdentity(file, { ...self(), startTicks: '1' });
    expect(livePid(file)).toBeUndefined();
  });

  test('answers nothing for a process of an earlier boot', () => {
    writeIdentity(file, { ...self(), bootId: '00000000-0000-0000-0000-000000000000' });
    expect(livePid(file)).toBeUndefined();
  });

  test('answers nothing when there is no such process', () => {
    writeIdentity(file, { ...self(), pid: 0x7fff_fff0 });
    expect(livePid(file)).toBeUndefined();
  });

  test('answers nothing for a file that was cut short, or is missing', () => {
    writeFileSync(join(folder, 'cut'), '{"pid":');
    expect(livePid(join(folder, 'cut'))).toBeUndefined();
    expect(livePid(join(folder, 'missing'))).toBeUndefined();
  });
});
