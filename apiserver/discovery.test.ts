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

describe('discovery and health', () => {
  test('list the resources, to anybody, without a review', async () => {
    server.trust = undefined;
    const { code, json } = await server.send({ path: ROOT });
    expect({ code, json }).toMatchObject({
      code: 200,
      json: {
        kind: 'APIResourceList',
        groupVersion: 'device-mounter.io/v1alpha1',
        resources: [
          { name: 'pods/mount', singularName: '', namespaced: true, kind: 'DeviceMount', verbs: ['update'] },
          { name: 'pods/unmount', singularName: '', namespaced: true, kind: 'DeviceUnmount', verbs: ['update'] },
        ],
      },
    });
    expect(server.reviews).toEqual([]);
  });

  test.each([
    ['application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList', 'apidiscovery.k8s.io/v2'],
    [
      'application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json',
      'apidiscovery.k8s.io/v2beta1',
    ],
    ['application/json', 'v1'],
    ['application/vnd.kubernetes.protobuf, */*', 'v1'],
  ])('answer /apis for Accept %s in %s', async (accept, apiVersion) => {
    const first = await server.send({ path: '/apis', headers: ['Accept', accept] });
    expect([first.code, first.json['apiVersion'], first.headers['vary']]).toEqual([200, apiVersion, 'Accept']);
    if (apiVersion !== 'v1') expect(first.headers['content-type']).toBe(accept.split(',')[0]);
    const headers = ['Accept', accept, 'If-None-Match', String(first.headers['etag'])];
    expect((await server.send({ path: '/apis', headers })).code).toBe(304);
  });

  test('tell what readiness lacks, and stay alive', async () => {
    server.ready = 'has not begun';
    const { code, text } = await server.send({ path: '/readyz' });
    expect([code, text]).toEqual([503, '[-]test has not begun\nreadyz check failed\n']);
    expect((await server.send({ path: '/livez' })).code).toBe(200);
    server.ready = undefined;
    expect((await server.send({ path: '/readyz?verbose' })).text).toBe('[+]test ok\nreadyz check passed\n');
    expect((await server.send({ path: '/readyz/test' })).code).toBe(200);
    expect((await server.send({ path: '/readyz/other' })).code).toBe(404);
  });
});
