import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { NativeConnection } from '@temporalio/worker';
import { temporalClient } from '../../apiserver/mounts/temporal-connection.ts';
import { SEARCH_ATTRIBUTES } from '../../contract/names.ts';
import { temporalAccess } from '../../process/temporal-access.ts';
import { prepareNamespace } from '../../workflows/temporal-namespace.ts';
import { TestCa } from '../apiserver/pki.ts';
import { newMount } from './apiserver-mount.ts';
import { ClusterClient } from './cluster-client.ts';
import { eventually, failureFrom } from './outcome.ts';
import { CLUSTER, mountRequest, NAMESPACE } from './requests.ts';
import { TemporalServer } from './temporal-server.ts';
import { TlsFront } from './tls-front.ts';

const DAYS = 86_400;
/** A refusal comes at once, even on a busy machine; a mount that nobody works on is waited for all this time. */
const PATIENCE_MS = { refused: 100_000, begun: 1_000 };
let temporal: TemporalServer;
let connection: NativeConnection;

beforeAll(async () => {
  temporal = await TemporalServer.start();
  connection = await NativeConnection.connect({ address: temporal.address });
});
afterAll(async () => {
  await connection.close();
  await temporal.stop();
});

const create = (name: string, retention: string): Promise<void> =>
  temporal.run(`temporal operator namespace create --namespace ${name} --retention ${retention}`);

async function stateOf(namespace: string) {
  const { config } = await connection.workflowService.describeNamespace({ namespace });
  const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
  return { seconds: Number(config?.workflowExecutionRetentionTtl?.seconds), names: Object.keys(customAttributes) };
}

const READY = { seconds: 7 * DAYS, names: expect.arrayContaining(Object.values(SEARCH_ATTRIBUTES)) };

describe('prepareNamespace()', () => {
  test('gives a new namespace seven days of retention and the search attributes of mounts', async () => {
    await create('short', '24h');
    expect(await prepareNamespace(connection, 'short')).toEqual([]);
    expect(await stateOf('short')).toEqual(READY);
    expect(await prepareNamespace(connection, 'short')).toEqual([]);
  });

  test('leaves a longer retention as it is', async () => {
    await create('long', '720h');
    expect(await prepareNamespace(connection, 'long')).toEqual([]);
    expect(await stateOf('long')).toEqual({ ...READY, seconds: 30 * DAYS });
  });

  test('ends that mounts are refused for now, since Temporal does not know their search attributes', async () => {
    await create('bare', '168h');
    const client = temporalClient(
      temporalAccess({ 'temporal-address': temporal.address, 'temporal-namespace': 'bare' }),
    );
    const mounts = new ClusterClient(client, { name: CLUSTER, uid: 'uid-of-test' }).mounts();
    const ask = (patienceMs: number) => failureFrom(mounts.mount(newMount(mountRequest('early')), patienceMs, 0));
    try {
      const refused = { type: 'TemporalUnavailable', message: expect.stringContaining('search attributes') };
      expect(await ask(PATIENCE_MS.refused)).toMatchObject(refused);
      expect(await mounts.earlier(NAMESPACE, mountRequest('early').name)).toBeUndefined();
      expect(await prepareNamespace(connection, 'bare')).toEqual([]);
      // Temporal's frontend learns them within seconds. There is no worker, so that the mount is only begun.
      await eventually(async () => (await ask(PATIENCE_MS.begun)).type === 'none');
    } finally {
      await client.connection.close();
    }
  });

  test('names the commands that mend what it has no rights for', async () => {
    await create('theirs', '24h');
    const ca = TestCa.selfSigned('temporal');
    const serving = ca.issue({ subject: '/CN=frontend', use: 'serverAuth', hosts: ['frontend.example'] });
    const client = ca.issue({ subject: '/CN=device-mounter' });
    const front = await TlsFront.start({
      serving,
      clientCa: ca.pair.cert,
      apiKeys: new Set(['key']),
      denied: ['/UpdateNamespace', '/AddSearchAttributes'],
      behind: temporal.address,
    });
    const limited = await NativeConnection.connect({
      address: front.address,
      apiKey: 'key',
      tls: {
        serverNameOverride: 'frontend.example',
        serverRootCACertificate: Buffer.from(ca.pair.cert),
        clientCertPair: { crt: Buffer.from(client.cert), key: Buffer.from(client.key) },
      },
    });
    try {
      const problems = await prepareNamespace(limited, 'theirs');
      expect(problems.map(({ problem }) => problem)).toEqual([
        'Cannot set the retention of Temporal namespace "theirs" to 168 h',
        'Cannot register the search attributes of mounts in Temporal namespace "theirs"',
      ]);
      for (const { command } of problems) await temporal.run(command);
      expect(await stateOf('theirs')).toEqual(READY);
      expect(await prepareNamespace(limited, 'theirs')).toEqual([]);
    } finally {
      await limited.close();
      await front.stop();
    }
  });
});
