import { getEventListeners } from 'node:events';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { ownerTeller } from './temporal.ts';

/** Answers every call at once, with UNIMPLEMENTED. */
const server = new Server();
let address = '';
beforeAll(async () => {
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (err, bound) =>
      err === null ? resolve(bound) : reject(err),
    );
  });
  address = `127.0.0.1:${port}`;
});
afterAll(() => server.forceShutdown());

const identity = async () => ({ name: 'test', uid: 'uid-of-test' });

test('ownerTeller() tries for as long as Temporal refuses, and leaves nothing behind by that', async () => {
  const access = { namespace: 'default', connection: { address }, dataConverter: {}, files: [] };
  const stop = new AbortController();
  const enough = Promise.withResolvers<number>();
  let attempts = 0;
  const throwIfAborted = (): void => {
    attempts++;
    if (attempts === 20) enough.resolve(getEventListeners(stop.signal, 'abort').length);
    AbortSignal.prototype.throwIfAborted.call(stop.signal);
  };
  Object.defineProperty(stop.signal, 'throwIfAborted', { value: throwIfAborted });
  const tell = ownerTeller({ access, identity, log: pino({ enabled: false }) }, stop.signal, 1);
  const telling = tell({ namespace: 'default', name: 'm1' }, { signal: 'slaveEnding' });
  expect(await enough.promise).toBeLessThanOrEqual(1);
  stop.abort(new Error('stopped'));
  await expect(telling).rejects.toThrow('stopped');
});
