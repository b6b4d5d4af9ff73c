import type { ServerResponse } from 'node:http';
import { Agent } from 'node:https';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { makeCluster, type TestCluster, TestServer } from '../test/apiserver/harness.ts';
import { send } from '../test/apiserver/send.ts';
import { eventually } from '../test/workflows/outcome.ts';
import { TlsServer } from './server/tls-server.ts';

let cluster: TestCluster;
let server: TestServer;
beforeAll(() => {
  cluster = makeCluster();
});
beforeEach(async () => {
  server = await new TestServer(cluster).start();
});
afterEach(() => server.stop());

const ROOT = '/apis/device-mounter.io/v1alpha1';
const POD = `${ROOT}/namespaces/default/pods/web-0`;
const FUSE = '{"resources":{"hostdev.k8s.io/dev_fuse":1}}';
const mount = (
  query = 'device_type=HOSTDEV',
  body: string | readonly string[] = FUSE,
  headers: readonly string[] = [],
) => server.as('jane', { method: 'PUT', path: `${POD}/mount?${query}`, body, headers, groups: ['dev'] });

describe('who may not', () => {
  test('is told in kubectl’s usual words, and nothing is done', async () => {
    server.review = () => ({ allowed: false, reason: 'no <role>' });
    const { code, json, headers } = await mount();
    expect({ code, json }).toMatchObject({
      code: 403,
      json: {
        reason: 'Forbidden',
        message:
          'pods.device-mounter.io "web-0" is forbidden: User "jane" cannot update resource "pods/mount" in API group "device-mounter.io" in the namespace "default": no &lt;role&gt;',
        details: { name: 'web-0', group: 'device-mounter.io', kind: 'pods' },
      },
    });
    expect(headers['x-content-type-options']).toBe('nosniff');
    expect(server.mounts.asked).toEqual([]);
  });

  test.each([
    ['denies what it also allows', () => ({ allowed: true, denied: true }), 403],
    ['fails', () => Promise.reject(new Error('no route to 10.0.0.1')), 500],
  ])('is who the review %s for', async (_name, review, code) => {
    server.review = review;
    const answer = await mount();
    expect([answer.code, answer.text.includes('10.0.0.1')]).toEqual([code, false]);
    expect(server.mounts.asked).toEqual([]);
  });
});

describe('the server', () => {
  test.each([
    '/apis/device-mounter.io/v1alpha1/namespaces/default/pods/web-0/MOUNT',
    '/apis/device-mounter.io/v1alpha1/namespaces/default/pods/web-0/mount/',
    '/apis/device-mounter.io/v1alpha1/namespaces/default/pods/web-0/mount/x',
    '/apis/device-mounter.io/v1alpha1/namespaces/Default/pods/web-0/mount',
    '/apis/device-mounter.io/v1alpha1/namespaces/default/pods/-web/mount',
    '/apis/device-mounter.io/v1alpha1/devicemounts',
    '/apis/device-mounter.io/v1alpha1/namespaces/default/devicemounts/x',
    '/api',
    '/',
  ])('knows no path %s', async (path) => {
    const { code, json } = await server.as('jane', { method: 'PUT', path: `${path}?device_type=HOSTDEV`, body: FUSE });
    expect([code, json['kind']]).toEqual([404, 'Status']);
    expect(server.reviews).toEqual([]);
  });

  test.each([
    '/apis/device-mounter.io/v1alpha1/namespaces/default/pods/..%2f..%2fns2%2fpods%2fx/mount',
    '/apis/device-mounter.io/v1alpha1/namespaces/default/pods/web%2d0/mount',
    '/apis/device-mounter.io/v1alpha1/namespaces/default/pods/web-0%00/mount',
    '/apis/device-mounter.io/v1alpha1/namespaces/default/pods/%zz/mount',
    '/apis/device-mounter.io/v1alpha1/namespaces/default/pods/..%5cx/mount',
    '/apis/device-mounter.io/v1alpha1/namespaces/default/../kube-system/pods/web-0/mount',
    '/apis/device-mounter.io/v1alpha1/namespaces/default/%2e%2e/kube-system/pods/web-0/mount',
    '/apis/device-mounter.io/v1alpha1/namespaces//default/pods/web-0/mount',
    '//apis/device-mounter.io/v1alpha1/namespaces/default/pods/web-0/mount',
    '/apis/device-mounter.io/v1alpha1/namespaces/default/pods/./web-0/mount',
    '/apis/device-mounter.io/v1alpha1/namespaces/default/pods/web-0;a=b/mount',
  ])('refuses the path %s before it is routed', async (path) => {
    const { code, json } = await server.as('jane', { method: 'PUT', path: `${path}?device_type=HOSTDEV`, body: FUSE });
    expect([code, json['kind']]).toEqual([400, 'Status']);
    expect(server.reviews).toEqual([]);
  });

  test.each(['GET', 'POST', 'PATCH', 'DELETE'])('allows no %s of mount', async (method) => {
    const { code, json, headers } = await server.as('jane', { method, path: `${POD}/mount` });
    expect([code, json['reason'], headers['allow']]).toEqual([405, 'MethodNotAllowed', 'PUT']);
  });

  test('answers 429 with Retry-After to one mount too many', async () => {
    const gate = Promise.withResolvers<void>();
    server.mounts.gate = gate.promise;
    const waiting = Array.from({ length: 10 }, () => mount());
    await eventually(() => server.mounts.asked.length === 10);
    const { code, headers } = await mount();
    expect([code, headers['retry-after']]).toEqual([429, '1']);
    gate.resolve();
    expect((await Promise.all(waiting)).map((answer) => answer.code)).toEqual(Array.from({ length: 10 }, () => 200));
  });

  test('logs one line with who, what and the Audit-ID, and echoes that', async () => {
    const { headers } = await mount('device_type=HOSTDEV', FUSE, ['Audit-ID', 'a-1']);
    expect(headers['audit-id']).toBe('a-1');
    await eventually(() => server.logLines.length > 0);
    expect(server.logLines).toMatchObject([
      {
        auditID: 'a-1',
        method: 'PUT',
        code: 200,
        user: 'jane',
        decision: 'allow',
        mount: expect.stringMatching(/^default\/web-0-/),
      },
    ]);
  });

  test('ends the connection of an answer that was under way when it began to drain', async () => {
    const gate = Promise.withResolvers<void>();
    server.mounts.gate = gate.promise;
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const body = FUSE;
    const waiting = server.as('jane', { method: 'PUT', path: `${POD}/mount?device_type=HOSTDEV`, body, agent });
    await eventually(() => server.mounts.asked.length === 1);
    const drained = server.tls.drain(3_600_000);
    gate.resolve();
    expect((await waiting).headers['connection']).toBe('close');
    await drained;
    agent.destroy();
    server = await new TestServer(cluster).start();
  });

  test('is drained as soon as an answer has ended that had begun before, on a connection that would stay', async () => {
    const begun = Promise.withResolvers<ServerResponse>();
    const { cert, key } = cluster.server;
    const tls = new TlsServer({ cert, key, expires: new Date() }, cluster.trust.pem, (_req, res) => {
      res.writeHead(200).flushHeaders();
      begun.resolve(res);
    });
    const port = await tls.listen(0, '127.0.0.1');
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const answer = send({ host: '127.0.0.1', port, ca: cluster.serving.pair.cert }, { agent });
    const res = await begun.promise;
    const drained = tls.drain(3_600_000);
    res.end('x');
    expect((await answer).text).toBe('x');
    await drained;
    agent.destroy();
  });

  test('answers what waits while it drains, and takes nothing new', async () => {
    const gate = Promise.withResolvers<void>();
    server.mounts.gate = gate.promise;
    const waiting = mount();
    await eventually(() => server.mounts.asked.length === 1);
    const drained = server.tls.drain(3_600_000);
    await expect(mount()).rejects.toThrow('ECONNREFUSED');
    gate.resolve();
    expect((await waiting).code).toBe(200);
    await drained;
    server = await new TestServer(cluster).start();
  });
});
