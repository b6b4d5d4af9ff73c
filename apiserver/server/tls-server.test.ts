import { once } from 'node:events';
import { Agent, request } from 'node:https';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterAll, expect, test } from '@jest/globals';
import { TestCa } from '../../test/apiserver/pki.ts';
import { eventually } from '../../test/workflows/outcome.ts';
import { TlsServer } from './tls-server.ts';

const ca = TestCa.selfSigned('test');
const { cert, key } = ca.issue({ subject: '/CN=server', use: 'serverAuth', hosts: ['server.test'] });
const SERVER = { host: '127.0.0.1', ca: ca.pair.cert, servername: 'server.test' };

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
    (port: number) => connectTls({ ...SERVER, port }),
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

test('no request is lost by clients that keep connections and are sent elsewhere before the server drains', async () => {
  const [first, second] = [await listening(), await listening()];
  let { port } = first;
  const asking = Array.from({ length: 20 }, () => new Client(() => port));
  await eventually(() => asking.every(({ answers }) => answers > 10));
  port = second.port;
  first.server.leave();
  const before = asking.map(({ answers }) => answers);
  await eventually(() => asking.every(({ answers }, index) => answers > (before[index] ?? 0) + 2));
  await first.server.drain(3_600_000);
  expect((await Promise.all(asking.map((client) => client.end()))).flat()).toEqual([]);
});

/** Asks again and again on one connection, and makes another when that is closed. */
class Client {
  answers = 0;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #failures: unknown[] = [];
  #isAsking = true;
  readonly #done: Promise<void>;

  /** @param portNow where new connections go */
  constructor(portNow: () => number) {
    this.#agent.createConnection = () => connectTls({ ...SERVER, port: portNow() });
    this.#done = this.#run();
  }

  /** What it was answered by an error. */
  async end(): Promise<readonly unknown[]> {
    this.#isAsking = false;
    await this.#done;
    this.#agent.destroy();
    return this.#failures;
  }

  async #run(): Promise<void> {
    while (this.#isAsking) await this.#ask().catch((err: unknown) => this.#failures.push(err));
  }

  async #ask(): Promise<void> {
    const asked = request({ ...SERVER, method: 'PUT', agent: this.#agent });
    asked.end();
    const [answer] = await once(asked, 'response');
    answer.resume();
    await once(answer, 'end');
    this.answers += 1;
  }
}
