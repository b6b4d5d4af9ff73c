import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { makeCluster, type TestCluster, TestServer } from '../test/apiserver/harness.ts';

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
    await server.as('jane', { path: `${ROOT}/devicemounts` });
    await server.send({ path: '/some/path' });
    const { code, text } = await server.as('prometheus', { path: '/metrics' });
    expect(code).toBe(200);
    const labels = 'group="device-mounter.io",version="v1alpha1"';
    expect(text).toContain(
      `apiserver_request_total{verb="PUT",dry_run="",${labels},resource="pods",subresource="mount",scope="resource",component="apiserver",code="200"} 1`,
    );
    expect(text).toContain(`verb="LIST",dry_run="",${labels},resource="devicemounts",subresource="",scope="cluster"`);
    expect(text).toMatch(/apiserver_request_duration_seconds_bucket\{le="0.005",verb="PUT"/);
    expect(text).toContain('apiserver_current_inflight_requests{request_kind="mutating"} 0');
    expect(text).toContain('authorization_attempts_total{result="allowed"} 2');
    expect(text).not.toMatch(/jane|web-0|some\/path/);
    expect(server.reviews.at(-1)).toMatchObject({ nonResourceAttributes: { path: '/metrics', verb: 'get' } });
  });

  test('is refused to others', async () => {
    server.review = () => ({ allowed: false });
    expect(await server.as('jane', { path: '/metrics' })).toMatchObject({ code: 403 });
  });
});
