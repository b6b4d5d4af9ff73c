import { Agent } from 'node:https';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type Answer, type SendOptions, send } from '../../apiserver/send.ts';
import { aggregated, behalfOf, deployedServer, KEYS, ROOT } from './direct.ts';

/** Go's pool of idle connections, in which the aggregator keeps its own, holds them for 90 s. */
const POOLED_MS = 90_000;

const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const DISCOVERY: SendOptions = { path: ROOT };
let ask: () => Promise<Answer>;

beforeAll(async () => {
  const server = await deployedServer();
  ask = () => send(server, { ...DISCOVERY, client: KEYS.proxy, headers: behalfOf('root', 'system:masters'), agent });
});
afterAll(() => agent.destroy());

test('a connection that was idle for longer than the aggregator keeps any still serves', async () => {
  expect(await ask()).toMatchObject({ code: 200, reused: false });
  // The time itself is what is tested.
  await new Promise((resolve) => {
    setTimeout(resolve, POOLED_MS + 2_000);
  });
  expect(await ask()).toMatchObject({ code: 200, reused: true });
  expect((await aggregated(DISCOVERY)).code).toBe(200);
});
