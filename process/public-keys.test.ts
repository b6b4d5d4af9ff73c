import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { publicKeysOf } from './public-keys.ts';

const pem = () => generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }).toString();

let dir = '';
let file = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'keys-'));
  file = join(dir, 'public.pem');
});
afterEach(() => rmSync(dir, { recursive: true }));

describe('publicKeysOf()', () => {
  test('answers the keys as they are in the file now', () => {
    const old = pem();
    writeFileSync(file, old);
    const keys = publicKeysOf(file, () => undefined);
    expect(keys()).toHaveLength(1);
    writeFileSync(file, `${pem()}# retired 2026-01-01T00:00:00Z\n${old}`);
    expect(keys().map(({ retiredAtMs }) => retiredAtMs)).toEqual([undefined, Date.parse('2026-01-01T00:00:00Z')]);
  });

  test('keeps the keys while the file cannot be used, and says so once', () => {
    writeFileSync(file, pem());
    const problems: unknown[] = [];
    const keys = publicKeysOf(file, (err) => problems.push(err));
    const before = keys();
    writeFileSync(file, '');
    expect([keys(), keys()]).toEqual([before, before]);
    expect(problems).toMatchObject([{ message: expect.stringContaining('there must be one in PEM') }]);
    rmSync(file);
    expect(keys()).toBe(before);
    expect(problems).toHaveLength(2);
  });

  test('throws as long as there never was a key, and answers when there is one', () => {
    writeFileSync(file, 'none');
    const keys = publicKeysOf(file, () => undefined);
    expect(keys).toThrow('there must be one in PEM');
    expect(keys).toThrow('there must be one in PEM');
    writeFileSync(file, pem());
    expect(keys()).toHaveLength(1);
  });
});
