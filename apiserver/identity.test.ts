import { X509Certificate } from 'node:crypto';
import { Agent } from 'node:https';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import {
  makeCluster,
  type SendOptions,
  type TestCluster,
  TestServer,
  trustData,
  trustOf,
} from '../test/apiserver/harness.ts';
import { TestCa } from '../test/apiserver/pki.ts';
import { parseTrust } from './trust.ts';

let cluster: TestCluster;
let server: TestServer;
beforeAll(() => {
  cluster = makeCluster();
});
beforeEach(async () => {
  server = await new TestServer(cluster).start();
  // RBAC of a usual cluster: nobody but the user below may see mounts.
  server.review = ({ user }) => ({ allowed: user === 'jane' });
});
afterEach(() => server.stop());

const path = '/apis/device-mounter.io/v1alpha1/devicemounts';
const ADMIN = ['X-Remote-User', 'admin', 'X-Remote-Group', 'system:masters'];

describe('a forged identity', () => {
  // Each claims to be an administrator; the name tells with which certificate, or how else.
  test.each<[string, () => SendOptions, number, string | undefined]>([
    ['no certificate', () => ({ headers: ADMIN }), 403, 'system:anonymous'],
    [
      'a certificate of an unknown CA',
      () => ({ headers: ADMIN, client: TestCa.selfSigned('x').issue({ subject: '/CN=front-proxy-client' }) }),
      401,
      undefined,
    ],
    [
      'an unknown CA of the same name',
      () => ({
        headers: ADMIN,
        client: TestCa.selfSigned('front-proxy-ca').issue({ subject: '/CN=front-proxy-client' }),
      }),
      401,
      undefined,
    ],
    [
      'a certificate signed by itself',
      () => ({ headers: ADMIN, client: TestCa.selfSigned('front-proxy-client').pair }),
      401,
      undefined,
    ],
    [
      'the front proxy’s CA, another name',
      () => ({ headers: ADMIN, client: cluster.frontProxy.issue({ subject: '/CN=metrics' }) }),
      401,
      undefined,
    ],
    [
      'the front proxy’s CA, a name of another case',
      () => ({ headers: ADMIN, client: cluster.frontProxy.issue({ subject: '/CN=Front-Proxy-Client' }) }),
      401,
      undefined,
    ],
    [
      'the front proxy’s CA, two names',
      () => ({ headers: ADMIN, client: cluster.frontProxy.issue({ subject: '/CN=front-proxy-client/CN=x' }) }),
      401,
      undefined,
    ],
    [
      'the front proxy’s CA, no name',
      () => ({ headers: ADMIN, client: cluster.frontProxy.issue({ subject: '/O=front-proxy-client' }) }),
      401,
      undefined,
    ],
    [
      'the front proxy’s CA, the name as host',
      () => ({ headers: ADMIN, client: cluster.frontProxy.issue({ subject: '/CN=x', hosts: ['front-proxy-client'] }) }),
      401,
      undefined,
    ],
    [
      'a certificate for servers only',
      () => ({
        headers: ADMIN,
        client: cluster.frontProxy.issue({ subject: '/CN=front-proxy-client', use: 'serverAuth' }),
      }),
      401,
      undefined,
    ],
    [
      'a certificate that has expired',
      () => ({ headers: ADMIN, client: cluster.frontProxy.issue({ subject: '/CN=front-proxy-client', days: -1 }) }),
      401,
      undefined,
    ],
    [
      'a certificate of the clients’ CA named as the front proxy',
      () => ({ headers: ADMIN, client: cluster.clients.issue({ subject: '/CN=front-proxy-client' }) }),
      403,
      'front-proxy-client',
    ],
    [
      'a user’s own certificate',
      () => ({ headers: ADMIN, client: cluster.clients.issue({ subject: '/CN=eve' }) }),
      403,
      'eve',
    ],
    ['the server’s own certificate', () => ({ headers: ADMIN, client: cluster.server }), 401, undefined],
    [
      'the front proxy, but no user',
      () => ({ headers: ['X-Remote-Group', 'system:masters'], client: cluster.proxy }),
      401,
      undefined,
    ],
    [
      'the front proxy, an empty user',
      () => ({ headers: ['X-Remote-User', '', 'X-Remote-Group', 'system:masters'], client: cluster.proxy }),
      401,
      undefined,
    ],
    [
      'a group that holds a comma',
      () => ({ headers: ['X-Remote-User', 'eve', 'X-Remote-Group', 'x, system:masters'], client: cluster.proxy }),
      403,
      'eve',
    ],
    [
      'a second user header',
      () => ({ headers: ['X-Remote-User', 'eve', 'X-Remote-User', 'jane'], client: cluster.proxy }),
      403,
      'eve',
    ],
    [
      'an underscore for a hyphen',
      () => ({ headers: ['X-Remote-User', 'eve', 'X_Remote_Group', 'system:masters'], client: cluster.proxy }),
      403,
      'eve',
    ],
    ['a bearer token', () => ({ headers: ['Authorization', 'Bearer x', ...ADMIN] }), 403, 'system:anonymous'],
  ])('by %s gets nothing', async (_name, options, code, user) => {
    const answer = await server.send({ path, ...options() });
    expect([answer.code, answer.json['kind']]).toEqual([code, 'Status']);
    expect(server.reviews.map((review) => review.user)).toEqual(user === undefined ? [] : [user]);
    expect(server.reviews.flatMap(({ groups }) => groups)).not.toContain('system:masters');
  });
});

const review = () => server.reviews.at(-1);

describe('an identity of the front proxy', () => {
  test('keeps each group on its own, also those with commas', async () => {
    await server.as('jane', { path, groups: ['a, b', 'c'] });
    expect(review()?.groups).toEqual(['a, b', 'c', 'system:authenticated']);
  });

  test('may have 400 groups', async () => {
    const groups = Array.from({ length: 400 }, (_, index) => `group-${index}-${'x'.repeat(60)}`);
    const { code } = await server.as('jane', { path, groups });
    expect([code, review()?.groups.length]).toEqual([200, 401]);
  });

  test('may have a name in UTF-8', async () => {
    await server.as(Buffer.from('jürgen ✓', 'utf8').toString('latin1'), { path });
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
    await server.as('jane', { path, headers: [...headers, 'X-Remote-Extra-Bad%zz', 'c'] });
    expect(review()).toMatchObject({
      uid: 'u',
      extra: { 'authentication.kubernetes.io/credential-id': ['a'], 'bad%zz': ['b', 'c'] },
    });
  });

  test('needs no review as system:masters', async () => {
    expect((await server.as('root', { path, groups: ['system:masters'] })).code).toBe(200);
    expect(server.reviews).toEqual([]);
  });

  test('may come through an intermediate CA that is trusted beside its root', async () => {
    const intermediate = new TestCa(cluster.frontProxy.issue({ subject: '/CN=front-proxy-ca-2', ca: true }));
    server.trust = trustOf(`${cluster.frontProxy.pair.cert}\n${intermediate.pair.cert}`, cluster.clients.pair.cert);
    server.tls.useCa(server.trust.pem);
    const client = intermediate.issue({ subject: '/CN=front-proxy-client' });
    expect((await server.send({ path, client, headers: ['X-Remote-User', 'jane'] })).code).toBe(200);
  });
});

test('a client certificate is its own user, with its groups', async () => {
  const client = cluster.clients.issue({ subject: '/O=dev/O=ops/CN=jane' });
  expect((await server.send({ path, client })).code).toBe(200);
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
  expect((await server.as('jane', { path })).code).toBe(401);
});

describe('when the front proxy’s CA changes', () => {
  test('the old one ends on connections that stay open, and the new one works at once', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const headers = ['X-Remote-User', 'jane'];
    const old = { path, headers, client: cluster.proxy, agent };
    expect((await server.send(old)).code).toBe(200);
    const next = TestCa.selfSigned('front-proxy-ca');
    const trust = trustOf(next.pair.cert, cluster.clients.pair.cert);
    server.trust = trust;
    // Not yet told to TLS: the connection stays, its certificate is worth nothing any more.
    expect((await server.send(old)).code).toBe(401);
    server.tls.useCa(trust.pem);
    expect((await server.send(old)).code).toBe(401);
    const client = next.issue({ subject: '/CN=front-proxy-client' });
    expect((await server.send({ path, headers, client })).code).toBe(200);
    agent.destroy();
  });

  test('both work while both are trusted', async () => {
    const next = TestCa.selfSigned('front-proxy-ca');
    server.trust = trustOf(`${cluster.frontProxy.pair.cert}\n${next.pair.cert}`, cluster.clients.pair.cert);
    server.tls.useCa(server.trust.pem);
    for (const ca of [cluster.frontProxy, next]) {
      const client = ca.issue({ subject: '/CN=front-proxy-client' });
      expect((await server.send({ path, client, headers: ['X-Remote-User', 'jane'] })).code).toBe(200);
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
  ])('throws for %s', (_name, change) => {
    const data = { ...trustData(cluster.frontProxy.pair.cert, cluster.clients.pair.cert), ...change };
    expect(() => parseTrust(data)).toThrow();
  });

  test('knows no front proxy without its CA', () => {
    expect(parseTrust({ 'client-ca-file': cluster.clients.pair.cert }).requestHeader).toBeUndefined();
  });
});
