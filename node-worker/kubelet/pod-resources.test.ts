import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, credentials, Server, ServerCredentials, type sendUnaryData, status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { loadService } from '../../proto/services.ts';
import { podResourcesOf } from './pod-resources.ts';

/** Longer than this machine ever stands still. */
const NEVER_MS = 600_000;
const devices = [
  { resourceName: 'v.com/a', deviceIds: ['1'] },
  { resourceName: 'v.com/a', deviceIds: ['2'] },
  { resourceName: 'v.com/b', deviceIds: ['x'] },
];
const POD = { name: 'p', namespace: 'd', containers: [{ name: 'c', devices }] };
const IDS = new Map([
  ['v.com/a', ['1', '2']],
  ['v.com/b', ['x']],
]);

let folder: string;
let server: Server;
let client: Client;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pod-resources-'));
  server = new Server();
  client = new Client(`unix:${join(folder, 'kubelet.sock')}`, credentials.createInsecure());
});
afterEach(() => {
  client.close();
  server.forceShutdown();
  rmSync(folder, { recursive: true });
});

async function serve(get: (answer: sendUnaryData<object>) => void, list: readonly object[]): Promise<void> {
  server.addService(loadService('PodResourcesLister'), {
    get: (_call: unknown, answer: sendUnaryData<object>) => get(answer),
    list: (_call: unknown, answer: sendUnaryData<object>) => answer(null, { podResources: list }),
  });
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${join(folder, 'kubelet.sock')}`, ServerCredentials.createInsecure(), (err) =>
      err === null ? resolve() : reject(err),
    );
  });
}

describe('podResourcesOf()', () => {
  test('asks for one pod', async () => {
    await serve((answer) => answer(null, { podResources: POD }), []);
    expect(await podResourcesOf(client, NEVER_MS).deviceIds('d', 'p')).toEqual(IDS);
  });

  test('asks for all pods where the kubelet refuses to tell of one', async () => {
    const refusal = { code: status.UNKNOWN, details: 'PodResources API Get method disabled' };
    await serve((answer) => answer(refusal), [{ ...POD, namespace: 'other', containers: [] }, POD]);
    expect(await podResourcesOf(client, NEVER_MS).deviceIds('d', 'p')).toEqual(IDS);
    expect(await podResourcesOf(client, NEVER_MS).deviceIds('d', 'q')).toBeUndefined();
  });

  test('knows nothing while the kubelet is away', async () => {
    expect(await podResourcesOf(client, NEVER_MS).deviceIds('d', 'p')).toBeUndefined();
  });
});
