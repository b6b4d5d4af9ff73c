import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { kubeApi } from '../../process/kube-api.ts';
import { TestCa } from '../../test/apiserver/pki.ts';
import { kubeconfigAccess } from './kubeconfig.ts';

const ca = TestCa.selfSigned('kubernetes');
const client = ca.issue({ subject: '/CN=node-worker' });
let server: Server;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'kubeconfig-'));
  const own = ca.issue({ subject: '/CN=kube-apiserver', use: 'serverAuth', hosts: ['127.0.0.1'] });
  server = createServer(
    { ...own, ca: ca.pair.cert, requestCert: true, rejectUnauthorized: false },
    ({ socket, headers }, response) => {
      const { subject } = (socket as TLSSocket).getPeerCertificate();
      response.end(JSON.stringify({ subject: subject?.CN, authorization: headers.authorization }));
    },
  );
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true });
});

const serverUrl = (): string => `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
const base64 = (text: string): string => Buffer.from(text).toString('base64');

function kubeconfig(user: object): string {
  const file = join(folder, 'config');
  const cluster = { server: serverUrl(), 'certificate-authority-data': base64(ca.pair.cert) };
  const config = {
    'current-context': 'a',
    contexts: [{ name: 'a', context: { cluster: 'a', user: 'a' } }],
    clusters: [{ name: 'a', cluster }],
    users: [{ name: 'a', user }],
  };
  writeFileSync(file, JSON.stringify(config));
  return file;
}

describe('kubeApi() over TLS', () => {
  test('shows the client certificate of a kubeconfig', async () => {
    const user = { 'client-certificate-data': base64(client.cert), 'client-key-data': base64(client.key) };
    const api = kubeApi(await kubeconfigAccess(kubeconfig(user)));
    expect(await api.get('/')).toEqual({ subject: 'node-worker' });
  });

  test('shows the token of a kubeconfig', async () => {
    const api = kubeApi(await kubeconfigAccess(kubeconfig({ token: 't1' })));
    expect(await api.get('/')).toEqual({ authorization: 'Bearer t1' });
  });

  test('gives no token to a server that the cluster’s CA does not know', async () => {
    const api = kubeApi(() => ({ server: serverUrl(), ca: TestCa.selfSigned('stranger').pair.cert, token: 't1' }));
    await expect(api.get('/')).rejects.toThrow(/certificate|signature/);
  });
});
