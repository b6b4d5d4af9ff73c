import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from '@jest/globals';
import { KubeConfig } from '@kubernetes/client-node';
import { SlaveWatch } from './slave-watch.ts';

/** Of a watch that is answered by hand. */
const server = createServer((request, response) => {
  asked = request.url ?? '';
  response.writeHead(200).flushHeaders();
  answer = response;
});
let asked = '';
let answer: ServerResponse;

async function open(): Promise<SlaveWatch> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const config = new KubeConfig();
  const { port } = server.address() as AddressInfo;
  config.loadFromClusterAndUser({ name: 'c', server: `http://127.0.0.1:${port}`, skipTLSVerify: true }, { name: 'u' });
  return SlaveWatch.open(config, 'web');
}

afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
});

const tell = (type: string, uid: string, phase: string): void => {
  answer.write(`${JSON.stringify({ type, object: { metadata: { uid }, spec: {}, status: { phase } } })}\n`);
};

interface Settling {
  readonly promise: Promise<void>;
  settled: boolean;
}

function settling(promise: Promise<void>): Settling {
  const state: Settling = { settled: false, promise: promise.then(() => void (state.settled = true)) };
  return state;
}

/** And what waits for that has gone on. */
async function heard(slaves: SlaveWatch, changes: number): Promise<void> {
  // What hangs must not go on beside the tests that follow.
  const untilMs = performance.now() + 900_000;
  do {
    if (performance.now() > untilMs) throw new Error(`Cannot wait any longer for ${changes} changes`);
    await new Promise((resolve) => setImmediate(resolve));
  } while (slaves.seen.length < changes);
}

test('a SlaveWatch hears of the slaves of its target, when they run and when all are gone', async () => {
  const slaves = await open();
  expect(new URL(asked, 'http://kube').searchParams.get('labelSelector')).toBe('device-mounter.io/owner-name=web');
  tell('ADDED', 'a', 'Pending');
  tell('ADDED', 'b', 'Pending');
  const running = settling(slaves.running());
  await heard(slaves, 2);
  expect(running.settled).toBe(false);
  tell('MODIFIED', 'a', 'Running');
  await running.promise;
  expect(slaves.seen.map(({ isRunning }) => isRunning)).toEqual([false, false, true]);
  const gone = settling(slaves.gone());
  tell('DELETED', 'a', 'Running');
  await heard(slaves, 4);
  expect(gone.settled).toBe(false);
  tell('DELETED', 'b', 'Running');
  await gone.promise;
  slaves.close();
});

test('a SlaveWatch that has ended fails whoever waits', async () => {
  const slaves = await open();
  const waiting = slaves.running();
  answer.end();
  await expect(waiting).rejects.toThrow('the watch has ended');
});
