import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterAll, test } from '@jest/globals';
import { TestCa } from '../../test/apiserver/pki.ts';
import { TlsServer } from './tls-server.ts';

const ca = TestCa.selfSigned('test');
const { cert, key } = ca.issue({ subject: '/CN=server', use: 'serverAuth', hosts: ['server.test'] });

const servers: TlsServer[] = [];
afterAll(() => Promise.all(servers.map((server) => server.drain(0))));

async function listening(): Promise<{ readonly server: TlsServer; readonly port: number }> {
  const server = new TlsServer({ cert, key, expires: new Date() }, '', (_req, res) => void res.end('ok'));
  servers.push(server);
  return { server, port: await server.listen(0, '127.0.0.1') };
}

test.each([
  [
    'has made TLS, as Go keeps connections in stock',
    'secureConnect',
    (port: number) => connectTls({ host: '127.0.0.1', port, ca: ca.pair.cert, servername: 'server.test' }),
  ],
  ['has not even made TLS', 'connect', (port: number) => connectTcp({ host: '127.0.0.1', port })],
] as const)('drain() does not wait for a client that has asked nothing yet, and %s', async (_what, event, connect) => {
  const { server, port } = await listening();
  const socket = connect(port);
  socket.on('error', () => undefined);
  await once(socket, event);
  const closed = once(socket, 'close');
  // Would it wait, it would for an hour.
  await server.drain(3_600_000);
  await closed;
});
