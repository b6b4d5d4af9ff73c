import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { DRY_RUN, makeCluster, type TestCluster, TestServer } from '../../test/apiserver/harness.ts';
import { Tokens } from '../identity/tokens.ts';
import { Metrics } from './metrics.ts';

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

describe('GET /metrics', () => {
  test('counts requests as kube-apiserver does, without names of tenants', async () => {
    const body = '{"resources":{"hostdev.k8s.io/dev_fuse":1}}';
    const path = `${ROOT}/namespaces/default/pods/web-0/mount?device_type=HOSTDEV`;
    await server.as('jane', { method: 'PUT', path, body });
    await server.as('jane', { ...DRY_RUN, method: 'GET' });
    await server.send({ path: '/some/path' });
    const { code, text } = await server.as('prometheus', { path: '/metrics' });
    expect(code).toBe(200);
    const labels = 'group="device-mounter.io",version="v1alpha1"';
    expect(text).toContain(
      `apiserver_request_total{verb="PUT",dry_run="",${labels},resource="pods",subresource="mount",scope="resource",component="apiserver",code="200"} 1`,
    );
    expect(text).toContain(
      `verb="GET",dry_run="All",${labels},resource="pods",subresource="mount",scope="resource",component="apiserver",code="405"`,
    );
    expect(text).toContain(
      'verb="GET",dry_run="",group="",version="",resource="",subresource="",scope="",component="apiserver",code="404"',
    );
    expect(text).toMatch(/apiserver_request_duration_seconds_bucket\{le="0.005",verb="PUT"/);
    expect(text).toContain('apiserver_current_inflight_requests{request_kind="mutating"} 0');
    expect(text).toContain('authorization_attempts_total{result="allowed"} 1');
    expect(text).not.toMatch(/jane|web-0|some\/path/);
    expect(server.reviews.at(-1)).toMatchObject({ nonResourceAttributes: { path: '/metrics', verb: 'get' } });
  });

  test('tells of requests turned away, reviews, and certificates that end', async () => {
    const metrics = new Metrics();
    const limited = await new TestServer(cluster, {
      metrics,
      maxMutatingRequests: 1,
      review: metrics.delegated('authz', async () => ({ allowed: await gate.promise })),
      tokens: new Tokens(metrics.delegated('authn', async () => ({ name: 'jane', groups: [], extra: {} }))),
    }).start();
    const gate = Promise.withResolvers<boolean>();
    try {
      const request = { ...DRY_RUN, headers: ['Authorization', 'Bearer t'] };
      const codes = [limited.send(request), limited.send(request)].map(async (answer) => (await answer).code);
      expect(await Promise.race(codes)).toBe(429);
      gate.resolve(true);
      expect(new Set(await Promise.all(codes))).toEqual(new Set([200, 429]));
      await limited.as('jane', { path: '/metrics' });
      const text = await metrics.registry.metrics();
      expect(text).toMatch(/apiserver_request_terminations_total\{verb="PUT".*code="429"\} 1/);
      expect(text).toContain('apiserver_delegated_authn_request_total{code="201"} 1');
      expect(text).toContain('apiserver_delegated_authz_request_total{code="201"} 2');
      // The certificates of the tests are good for 30 days.
      expect(text).toContain('apiserver_client_certificate_expiration_seconds_bucket{le="604800"} 0');
      expect(text).toContain('apiserver_client_certificate_expiration_seconds_bucket{le="2592000"} 1');
    } finally {
      await limited.stop();
    }
  });

  test('count a review that failed as an error, not as a denial', async () => {
    server.review = () => Promise.reject(new Error('kube-apiserver is away'));
    await server.as('jane', DRY_RUN);
    server.review = () => ({ allowed: false });
    await server.as('jane', DRY_RUN);
    server.review = () => ({ allowed: true });
    const { text } = await server.as('jane', { path: '/metrics' });
    expect(text).toContain('authorization_attempts_total{result="error"} 1');
    expect(text).toContain('authorization_attempts_total{result="denied"} 1');
  });

  test('is refused to others', async () => {
    server.review = () => ({ allowed: false });
    expect(await server.as('jane', { path: '/metrics' })).toMatchObject({ code: 403 });
  });
});
