import { X509Certificate } from 'node:crypto';
import { Agent } from 'node:https';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { FORGERIES } from '../test/apiserver/forgeries.ts';
import { DRY_RUN, makeCluster, type TestCluster, TestServer, trustData, trustOf } from '../test/apiserver/harness.ts';
import { TestCa } from '../test/apiserver/pki.ts';
import { parseTrust } from './trust.ts';

let cluster: TestCluster;
let server: TestServer;
beforeAll(() => {
  cluster = makeCluster();
});
beforeEach(async () => {
  server = await new TestServer(cluster).start();
  // RBAC of a usual cluster: nobody but the user below may mount.
  server.review = ({ user }) => ({ allowed: user === 'jane' });
});
afterEach(() => server.stop());

describe('a forged identity', () => {
  test.each(FORGERIES)('by $how gets nothing', async ({ options, code, user }) => {
    const answer = await server.send({ ...DRY_RUN, ...options(cluster) });
    expect([answer.code, answer.json['kind']]).toEqual([code, 'Status']);
    expect(server.reviews.map((review) => review.user)).toEqual(user === undefined ? [] : [user]);
    expect(server.reviews.flatMap(({ groups }) => groups)).not.toContain('system:masters');
  });
});

const review = () => server.reviews.at(-1);

describe('an identity of the front proxy', () => {
  test('keeps each group on its own, also those with commas', async () => {
    await server.as('jane', { ...DRY_RUN, groups: ['a, b', 'c'] });
    expect(review()?.groups).toEqual(['a, b', 'c', 'system:authenticated']);
  });

  test('may have 400 groups', async () => {
    const groups = Array.from({ length: 400 }, (_, index) => `group-${index}-${'x'.repeat(60)}`);
    const { code } = await server.as('jane', { ...DRY_RUN, groups });
    expect([code, review()?.groups.length]).toEqual([200, 401]);
  });

  test('is not lost behind 1,500 other headers, as Go sends them in order', async () => {
    const groups = Array.from({ length: 1_500 }, (_, index) => ['X-Remote-Group', `g${index}`]).flat();
    const client = cluster.proxy;
    const { code } = await server.send({ ...DRY_RUN, client, headers: [...groups, 'X-Remote-User', 'jane'] });
    expect([code, review()?.user, review()?.groups.length]).toEqual([200, 'jane', 1_501]);
  });

  test('must be told: the front proxy speaks for itself nowhere, not even where one CA has signed all', async () => {
    server.trust = trustOf(cluster.frontProxy.pair.cert, cluster.frontProxy.pair.cert);
    for (const headers of [[], ['X-Remote-User', '']]) {
      expect((await server.send({ ...DRY_RUN, client: cluster.proxy, headers })).code).toBe(401);
    }
    expect(server.reviews).toEqual([]);
  });

  test('may have a name in UTF-8', async () => {
    await server.as(Buffer.from('jürgen ✓', 'utf8').toString('latin1'), DRY_RUN);
    expect(review()?.user).toBe('jürgen ✓');
  });

  test('keeps extra keys with their escapes undone, whatever the case of the header', async () => {
    const headers = [
      'x-remote-extra-authentication.kubernetes.io%2Fcredential-id',
      'a',
      'X-REMOTE-EXTRA-Bad%zz',
      'b',
      'X-Remote-Uid',
      'u',
    ];
    await server.as('jane', { ...DRY_RUN, headers: [...headers, 'X-Remote-Extra-Bad%zz', 'c'] });
    expect(review()).toMatchObject({
      uid: 'u',
      extra: { 'authentication.kubernetes.io/credential-id': ['a'], 'bad%zz': ['b', 'c'] },
    });
  });

  test('needs no review as system:masters', async () => {
    expect((await server.as('root', { ...DRY_RUN, groups: ['system:masters'] })).code).toBe(200);
    expect(server.reviews).toEqual([]);
  });

  test('may come through an intermediate CA that is trusted beside its root', async () => {
    const intermediate = new TestCa(cluster.frontProxy.issue({ subject: '/CN=front-proxy-ca-2', ca: true }));
    server.trust = trustOf(`${cluster.frontProxy.pair.cert}\n${intermediate.pair.cert}`, cluster.clients.pair.cert);
    server.tls.useCa(server.trust.pem);
    const client = intermediate.issue({ subject: '/CN=front-proxy-client' });
    expect((await server.send({ ...DRY_RUN, client, headers: ['X-Remote-User', 'jane'] })).code).toBe(200);
  });
});

test('a client certificate is its own user, with its groups', async () => {
  const client = cluster.clients.issue({ subject: '/O=dev/O=ops/CN=jane' });
  expect((await server.send({ ...DRY_RUN, client })).code).toBe(200);
  const fingerprint = new X509Certificate(client.cert).fingerprint256.replaceAll(':', '').toLowerCase();
  expect(server.reviews[0]).toEqual({
    user: 'jane',
    groups: ['dev', 'ops', 'system:authenticated'],
    extra: { 'authentication.kubernetes.io/credential-id': [`X509SHA256=${fingerprint}`] },
    resourceAttributes: expect.anything(),
  });
});

test('nobody is believed before it is known whom to believe', async () => {
  server.trust = undefined;
  expect((await server.as('jane', DRY_RUN)).code).toBe(401);
});

describe('when the front proxy’s CA changes', () => {
  test('the old one ends on connections that stay open, and the new one works at once', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const headers = ['X-Remote-User', 'jane'];
    const old = { ...DRY_RUN, headers, client: cluster.proxy, agent };
    expect((await server.send(old)).code).toBe(200);
    const next = TestCa.selfSigned('front-proxy-ca');
    const trust = trustOf(next.pair.cert, cluster.clients.pair.cert);
    server.trust = trust;
    // Not yet told to TLS: the connection stays, its certificate is worth nothing any more.
    expect((await server.send(old)).code).toBe(401);
    server.tls.useCa(trust.pem);
    expect((await server.send(old)).code).toBe(401);
    const client = next.issue({ subject: '/CN=front-proxy-client' });
    expect((await server.send({ ...DRY_RUN, headers, client })).code).toBe(200);
    agent.destroy();
  });

  test('both work while both are trusted', async () => {
    const next = TestCa.selfSigned('front-proxy-ca');
    server.trust = trustOf(`${cluster.frontProxy.pair.cert}\n${next.pair.cert}`, cluster.clients.pair.cert);
    server.tls.useCa(server.trust.pem);
    for (const ca of [cluster.frontProxy, next]) {
      const client = ca.issue({ subject: '/CN=front-proxy-client' });
      expect((await server.send({ ...DRY_RUN, client, headers: ['X-Remote-User', 'jane'] })).code).toBe(200);
    }
  });
});

describe('parseTrust()', () => {
  test.each([
    ['a list that is none', { 'requestheader-allowed-names': '"x"' }],
    ['no JSON', { 'requestheader-group-headers': 'X-Remote-Group' }],
    [
      'a broken certificate',
      { 'requestheader-client-ca-file': '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----' },
    ],
    ['a certificate that is cut off', { 'client-ca-file': '-----BEGIN CERTIFICATE-----\nMIIB' }],
    ['something else than certificates', { 'requestheader-client-ca-file': 'x' }],
  ])('throws for %s', (_name, change) => {
    const data = { ...trustData(cluster.frontProxy.pair.cert, cluster.clients.pair.cert), ...change };
    expect(() => parseTrust(data)).toThrow();
  });

  test('knows no front proxy without its CA', () => {
    expect(parseTrust({ 'client-ca-file': cluster.clients.pair.cert }).requestHeader).toBeUndefined();
  });
});
