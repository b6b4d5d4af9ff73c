import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { DRY_RUN, makeCluster, TestServer } from '../../test/apiserver/harness.ts';
import type { Pair } from '../../test/apiserver/pki.ts';
import { readServingPair, watchServingPair } from './serving-certificate.ts';

const cluster = makeCluster();
const issue = () => cluster.serving.issue({ subject: '/CN=next', use: 'serverAuth', hosts: ['127.0.0.1'] });
let directory: string;
let server: TestServer;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'device-mounter-tls-'));
  write(cluster.server);
  for (const name of ['tls.crt', 'tls.key']) symlinkSync(join('..data', name), join(directory, name));
  server = await new TestServer(cluster).start();
});
afterEach(async () => {
  rmSync(directory, { recursive: true });
  await server.stop();
});

/** As the kubelet replaces a Secret: both files at once, by the link that they lead through. */
function write({ cert, key }: Pair): void {
  const version = mkdtempSync(join(directory, '..version-'));
  writeFileSync(join(version, 'tls.crt'), cert);
  writeFileSync(join(version, 'tls.key'), key);
  symlinkSync(version, join(directory, '..data.new'));
  renameSync(join(directory, '..data.new'), join(directory, '..data'));
}

async function servedFingerprint(): Promise<string | undefined> {
  const socket = connect({ port: server.port, host: '127.0.0.1', ca: cluster.serving.pair.cert });
  await once(socket, 'secureConnect');
  const { fingerprint256 } = socket.getPeerCertificate();
  socket.destroy();
  return fingerprint256;
}

describe('watchServingPair()', () => {
  test('keeps the pair over one that does not fit, and serves the next one as soon as it is there', async () => {
    const first = await readServingPair(directory);
    const refused = Promise.withResolvers<string>();
    const log = {
      info: () => undefined,
      warn: (_object: object, message: string) => refused.resolve(message),
    };
    const applied = Promise.withResolvers<void>();
    const stop = watchServingPair(directory, first, log, (pair) => {
      server.tls.usePair(pair);
      applied.resolve();
    });
    try {
      const second = issue();
      write({ cert: second.cert, key: issue().key });
      expect(await refused.promise).toBe('cannot read the serving certificate, the one before stays');
      expect(await servedFingerprint()).toBe(new X509Certificate(cluster.server.cert).fingerprint256);
      write(second);
      await applied.promise;
      expect(await servedFingerprint()).toBe(new X509Certificate(second.cert).fingerprint256);
      // The CAs of clients are not forgotten.
      expect((await server.as('jane', DRY_RUN)).code).toBe(200);
    } finally {
      stop();
    }
  });

  test('rejects a key of another certificate', async () => {
    write({ cert: issue().cert, key: issue().key });
    await expect(readServingPair(directory)).rejects.toThrow('its key must be tls.key, is another');
  });
});

describe('TlsServer', () => {
  test('speaks HTTP/1.1 to who offers HTTP/2, and survives who insists', async () => {
    const socket = connect({
      port: server.port,
      host: '127.0.0.1',
      ca: cluster.serving.pair.cert,
      ALPNProtocols: ['h2', 'http/1.1'],
    });
    await once(socket, 'secureConnect');
    expect(socket.alpnProtocol).toBe('http/1.1');
    socket.destroy();
    const session = connectHttp2(`https://127.0.0.1:${server.port}`, { ca: cluster.serving.pair.cert });
    await new Promise((resolve) => session.once('error', resolve));
    expect((await server.send({ path: '/livez' })).code).toBe(200);
  });
});
