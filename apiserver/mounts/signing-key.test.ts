import { generateKeyPairSync, type KeyPairKeyObjectResult } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { verifiedRequest } from '../../contract/signature.ts';
import { makeCluster, TestServer } from '../../test/apiserver/harness.ts';
import { signingKeyOf } from './signing-key.ts';

let dir = '';
let file = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'signing-'));
  file = join(dir, 'private.pem');
});
afterEach(() => rmSync(dir, { recursive: true }));

const write = ({ privateKey }: KeyPairKeyObjectResult): void =>
  writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }));

describe('signingKeyOf()', () => {
  test('signs the next request with the key that is in the file by then', async () => {
    const [first, second] = [generateKeyPairSync('ed25519'), generateKeyPairSync('ed25519')];
    write(first);
    const problems: unknown[] = [];
    const server = new TestServer(makeCluster(), { signingKey: signingKeyOf(file, (err) => problems.push(err)) });
    await server.start();
    const isSignedBy = async ({ publicKey }: KeyPairKeyObjectResult): Promise<boolean> => {
      const path = '/apis/device-mounter.io/v1alpha1/namespaces/default/pods/web-0/mount?device_type=HOSTDEV';
      await server.as('jane', { method: 'PUT', path, body: '{"resources":{"hostdev.k8s.io/dev_fuse":1}}' });
      const signed = server.mounts.asked.at(-1);
      const publicKeys = () => [{ key: publicKey }];
      return verifiedRequest(signed as never, { clusterName: 'test', publicKeys }) !== undefined;
    };
    try {
      expect(await isSignedBy(first)).toBe(true);
      write(second);
      expect(await isSignedBy(second)).toBe(true);
      writeFileSync(file, 'half of a ke');
      expect(await isSignedBy(second)).toBe(true);
      expect(problems).toHaveLength(1);
    } finally {
      await server.stop();
    }
  });

  test('refuses a key of another kind', () => {
    write(generateKeyPairSync('ec', { namedCurve: 'P-256' }));
    expect(signingKeyOf(file, () => undefined)).toThrow('it must be an Ed25519 key');
  });
});
