import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { onChangedFiles } from './changed-files.ts';
import { type TemporalSettings, temporalAccess } from './temporal-access.ts';

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'access-'));
  for (const name of ['ca', 'crt', 'key', 'api-key']) writeFileSync(join(dir, name), `${name}\n`);
});
afterEach(() => rmSync(dir, { recursive: true }));

function access(more: Partial<TemporalSettings> = {}) {
  return temporalAccess({ 'temporal-address': 'temporal:7233', 'temporal-namespace': 'mounts', ...more });
}

describe('temporalAccess()', () => {
  test('is plain without more', () => {
    expect(access()).toEqual({
      namespace: 'mounts',
      connection: { address: 'temporal:7233' },
      dataConverter: {},
      files: [],
    });
  });

  test('reads the files of mutual TLS', () => {
    const [ca, crt, key] = ['ca', 'crt', 'key'].map((name) => join(dir, name));
    const { connection, files } = access({
      'temporal-tls-ca': ca,
      'temporal-tls-cert': crt,
      'temporal-tls-key': key,
      'temporal-tls-server-name': 'frontend',
    });
    expect(connection.tls).toEqual({
      serverRootCACertificate: Buffer.from('ca\n'),
      clientCertPair: { crt: Buffer.from('crt\n'), key: Buffer.from('key\n') },
      serverNameOverride: 'frontend',
    });
    expect(files).toEqual([ca, crt, key]);
  });

  test('uses TLS when asked to and with an API key, which is read anew', () => {
    expect(access({ 'temporal-tls': 'true' }).connection.tls).toEqual({});
    const file = join(dir, 'api-key');
    const { connection, apiKey } = access({ 'temporal-api-key-file': file });
    expect([connection.tls, apiKey?.()]).toEqual([{}, 'api-key']);
    writeFileSync(file, 'rotated');
    expect(apiKey?.()).toBe('rotated');
    rmSync(file);
    expect(apiKey?.()).toBe('rotated');
    writeFileSync(file, 'again');
    expect(access({ 'temporal-api-key-file': file, 'temporal-tls': 'false' }).connection.tls).toBeUndefined();
  });

  test('refuses a certificate without its key, and files that are not there', () => {
    expect(() => access({ 'temporal-tls-cert': join(dir, 'crt') })).toThrow('must be given together');
    expect(() => access({ 'temporal-tls-ca': join(dir, 'none') })).toThrow('ENOENT');
  });
});

describe('onChangedFiles()', () => {
  afterEach(() => void jest.useRealTimers());

  test('tells once of another content, not of the same and not of a file that is missing', () => {
    jest.useFakeTimers();
    const file = join(dir, 'crt');
    let told = 0;
    const stop = onChangedFiles([file], 5, () => told++);
    for (const [change, expected] of [
      [() => writeFileSync(file, 'crt\n'), 0],
      [() => rmSync(file), 0],
      [() => writeFileSync(file, 'new\n'), 1],
      [() => writeFileSync(file, 'newer\n'), 1],
    ] as const) {
      change();
      // Time enough for several looks.
      jest.advanceTimersByTime(50);
      expect(told).toBe(expected);
    }
    stop();
  });
});
