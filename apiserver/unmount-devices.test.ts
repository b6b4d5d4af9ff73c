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
const POD = `${ROOT}/namespaces/default/pods/web-0`;
const FUSE = '{"resources":{"hostdev.k8s.io/dev_fuse":1}}';
const mount = (
  query = 'device_type=HOSTDEV',
  body: string | readonly string[] = FUSE,
  headers: readonly string[] = [],
) => server.as('jane', { method: 'PUT', path: `${POD}/mount?${query}`, body, headers, groups: ['dev'] });
const unmount = (query = 'device_type=HOSTDEV', headers: readonly string[] = []) =>
  server.as('jane', { method: 'PUT', path: `${POD}/unmount?${query}`, headers });

describe('PUT unmount', () => {
  test('answers what was released', async () => {
    await mount();
    const { code, json } = await unmount('device_type=hostdev&force=1');
    expect({ code, json }).toMatchObject({
      code: 200,
      json: { kind: 'DeviceMountList', items: [{ spec: { podName: 'web-0' }, status: { phase: 'Releasing' } }] },
    });
    expect(server.mounts.asked[1]?.request).toMatchObject({ kind: 'unmount', force: true, deviceType: 'HOSTDEV' });
    expect(server.reviews.at(-1)?.resourceAttributes?.subresource).toBe('unmount');
  });

  test('answers the sentence of the original to who asks for text', async () => {
    await mount();
    const { text } = await unmount('device_type=HOSTDEV&force=true', ['Accept', 'text/plain']);
    expect(text).toBe('Successfully uninstalled HOSTDEV devices');
  });

  test('waits for wait_second, then says that it goes on', async () => {
    await mount();
    expect((await unmount('device_type=HOSTDEV&wait_second=0')).code).toBe(202);
    await unmount('device_type=HOSTDEV&wait_second=3');
    expect(server.mounts.asked.slice(1).map(({ request }) => request.deadlineSeconds)).toEqual([600, 600]);
    expect(server.mounts.patience.slice(1)).toEqual([0, 3_000]);
  });

  test.each(['', '&dryRun=All', '&dryRun=All&container=sidecar'])(
    'tells that nothing is mounted (%s)',
    async (more) => {
      if (more.includes('sidecar')) await mount();
      const { code, json } = await unmount(`device_type=HOSTDEV${more}`);
      expect({ code, json }).toMatchObject({
        code: 404,
        json: { details: { causes: [{ reason: 'NothingMounted' }] } },
      });
    },
  );
});
