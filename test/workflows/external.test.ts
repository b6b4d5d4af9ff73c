import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { temporalClient } from '../../apiserver/mounts/temporal-connection.ts';
import { NodeTaskWorker, ownerTeller } from '../../node-worker/temporal.ts';
import { type TemporalAccess, type TemporalSettings, temporalAccess } from '../../process/temporal-access.ts';
import { TestCa } from '../apiserver/pki.ts';
import { Harness } from './harness.ts';
import { eventually, failureFrom } from './outcome.ts';
import { mountRequest, NAMESPACE, signed, unmountRequest } from './requests.ts';
import { TlsFront } from './tls-front.ts';

const dir = mkdtempSync(join(tmpdir(), 'external-'));
const apiKeys = new Set(['first']);
const log = pino({ enabled: false });
let front: TlsFront;
let settings: TemporalSettings;
let access: TemporalAccess;
let harness: Harness;

function write(name: string, text: string): string {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
}

async function reach(behind: string): Promise<TemporalAccess> {
  const ca = TestCa.selfSigned('temporal');
  const serving = ca.issue({ subject: '/CN=frontend', use: 'serverAuth', hosts: ['frontend.example'] });
  const { cert, key } = ca.issue({ subject: '/CN=device-mounter' });
  front = await TlsFront.start({ serving, clientCa: ca.pair.cert, apiKeys, behind });
  settings = {
    'temporal-address': front.address,
    'temporal-namespace': 'default',
    'temporal-tls-ca': write('ca.pem', ca.pair.cert),
    'temporal-tls-cert': write('tls.crt', cert),
    'temporal-tls-key': write('tls.key', key),
    'temporal-tls-server-name': 'frontend.example',
    'temporal-api-key-file': write('api-key', 'first\n'),
    'temporal-payload-keys': write('payload-keys', `k1:${randomBytes(32).toString('base64')}\n`),
  };
  access = temporalAccess(settings);
  return access;
}

beforeAll(async () => {
  harness = await Harness.start({ reach });
});
afterAll(async () => {
  await harness.stop();
  await front.stop();
  rmSync(dir, { recursive: true });
});

/**
 * Encodings of all payloads in what Temporal keeps of a workflow, but those of search attributes, which it has to read, and of what the SDK
 * notes in markers.
 */
function encodingsIn(value: unknown, into = new Set<string>()): ReadonlySet<string> {
  if (typeof value !== 'object' || value === null) return into;
  const { metadata } = value as { metadata?: Record<string, Uint8Array> | null };
  const encoding = metadata?.['encoding'];
  if (encoding !== undefined) into.add(Buffer.from(encoding).toString());
  for (const [key, inner] of Object.entries(value))
    if (key !== 'searchAttributes' && key !== 'data') encodingsIn(inner, into);
  return into;
}

describe('a Temporal behind mutual TLS and API keys', () => {
  test('carries a mount from the apiserver to the node worker and back, and sees none of its words', async () => {
    const node = await harness.addNode('far', 1, false);
    const worker = new NodeTaskWorker({
      access,
      identity: async () => harness.identity,
      node: 'far',
      activities: node.steps,
      log,
    });
    worker.start();
    const client = temporalClient(access);
    try {
      const mounts = harness.mounts(client);
      await mounts.check();
      expect((await harness.mount(signed(mountRequest('far')))).status.phase).toBe('Mounted');
      expect((await mounts.earlier(NAMESPACE, 'far-m'))?.mount).toMatchObject({
        status: { devices: [{ id: '/dev/fuse' }] },
      });
      const tell = ownerTeller({ access, identity: async () => harness.identity, log }, AbortSignal.timeout(100_000));
      const argument = { at: '2026-01-01T00:00:00Z', what: '/dev/fuse' };
      await tell({ namespace: NAMESPACE, name: 'far-m' }, { signal: 'driftHealed', argument });
      await eventually(async () =>
        (await mounts.earlier(NAMESPACE, 'far-m'))?.mount.status.message?.includes('Healed'),
      );
      await harness.unmount(signed(unmountRequest('far')));
      await harness.handle('far-m').result();
      expect(harness.leftOf('far', node)).toEqual([]);
      const history = await harness.handle('far-m').fetchHistory();
      expect([...encodingsIn(history.events)]).toEqual(['binary/encrypted']);
      const { raw } = await harness.handle('far-m').describe();
      expect([...encodingsIn(raw.workflowExecutionInfo?.memo)]).toEqual(['binary/encrypted']);
    } finally {
      await worker.stop();
      await client.connection.close();
    }
  });

  test('is reached with the next API key as soon as that is in its file', async () => {
    const client = temporalClient(access);
    apiKeys.add('second');
    write('api-key', 'second\n');
    apiKeys.delete('first');
    try {
      await harness.mounts(client).check();
    } finally {
      apiKeys.add('first');
      await client.connection.close();
    }
  });

  test.each([
    ['without a client certificate', { 'temporal-tls-cert': undefined, 'temporal-tls-key': undefined }],
    ['with another API key', { 'temporal-api-key-file': write('other-key', 'guess\n') }],
    ['when its certificate is for another name', { 'temporal-tls-server-name': 'elsewhere.example' }],
    ['without TLS', { 'temporal-tls': 'false' }],
  ])('is not reached %s', async (_name, change: Partial<TemporalSettings>) => {
    const client = temporalClient(temporalAccess({ ...settings, ...change }));
    expect(await failureFrom(harness.mounts(client).check())).toMatchObject({ type: 'TemporalUnavailable' });
    await client.connection.close();
  });
});
