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

const unlisted = () => Promise.reject(new Error('there is no such kind'));

describe('PUT unmount', () => {
  test('answers what was released', async () => {
    await mount();
    const { code, json } = await unmount('device_type=hostdev&force=1');
    expect({ code, json }).toMatchObject({
      code: 200,
      json: { kind: 'DeviceMountList', items: [{ spec: { podName: 'web-0' }, status: { phase: 'Releasing' } }] },
    });
    expect(json['items']).toMatchObject([{ metadata: { uid: expect.stringMatching(/^object of /) } }]);
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
    expect((await unmount('device_type=HOSTDEV&wait_second=3')).code).toBe(200);
    expect(server.mounts.asked.slice(1).map(({ request }) => request.deadlineSeconds)).toEqual([600, 600]);
    expect(server.mounts.patience.slice(1)).toEqual([0, 3_000]);
  });

  test('lists with 202 what kube-apiserver has of what was asked for, and no other mount of the pod', async () => {
    for (const name of ['a', 'b']) await mount('device_type=HOSTDEV', `{"name":"${name}",${FUSE.slice(1)}`);
    await mount('device_type=HOSTDEV&container=sidecar', `{"name":"c",${FUSE.slice(1)}`);
    const { code, json } = await unmount('device_type=HOSTDEV&wait_second=0&mount=b');
    expect({ code, json }).toMatchObject({
      code: 202,
      json: {
        apiVersion: 'device-mounter.io/v1alpha1',
        kind: 'DeviceMountList',
        metadata: { resourceVersion: expect.stringMatching(/^\d+$/) },
        items: [{ metadata: { name: 'b', uid: expect.stringMatching(/^object of /) } }],
      },
    });
    const all = await unmount('device_type=HOSTDEV&wait_second=0');
    expect(all.json).toMatchObject({ items: [{ metadata: { name: 'a' } }, { metadata: { name: 'b' } }] });
  });

  test.each([
    ['fails', async () => Promise.reject(new Error('no route to 10.0.0.1'))],
    ['never comes', async () => new Promise<never>(() => undefined)],
  ])('says with 202 that it has begun, also when the list %s', async (_name, list) => {
    await mount();
    server.listObjects = list;
    const { code, json, headers, text } = await unmount('device_type=HOSTDEV&wait_second=0');
    expect({ code, json }).toMatchObject({ code: 202, json: { kind: 'DeviceMountList', items: [] } });
    expect(headers['warning']).toContain('the unmount has begun, but its mounts cannot be listed now');
    expect([server.mounts.asked.length, text.includes('10.0.0.1')]).toEqual([2, false]);
  });

  test('answers what was released also when kube-apiserver does not list it', async () => {
    const { json: mounted } = await mount();
    server.listObjects = unlisted;
    const { code, json } = await unmount();
    const { name } = mounted['metadata'] as { readonly name: string };
    expect([code, json['items']]).toMatchObject([200, [{ metadata: { name, uid: expect.any(String) } }]]);
  });

  test('does not say what dryRun=All would do while kube-apiserver does not list the mounts', async () => {
    server.listObjects = unlisted;
    const { code, json } = await unmount('device_type=HOSTDEV&dryRun=All');
    expect([code, json['details']]).toMatchObject([503, { causes: [{ reason: 'KubernetesUnavailable' }] }]);
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
