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

describe('GET devicemounts', () => {
  test('answers one, a list of a namespace, and of all', async () => {
    const name = ((await mount()).json['metadata'] as { name: string }).name;
    const one = await server.as('jane', { path: `${ROOT}/namespaces/default/devicemounts/${name}` });
    expect(one.json).toMatchObject({ kind: 'DeviceMount', metadata: { name } });
    const other = await server.as('jane', { path: `${ROOT}/namespaces/other/devicemounts?limit=500` });
    expect(other.json).toMatchObject({ kind: 'DeviceMountList', items: [] });
    const all = await server.as('jane', { path: `${ROOT}/devicemounts` });
    expect(all.json['items']).toHaveLength(1);
    expect(server.reviews.slice(1).map(({ resourceAttributes }) => resourceAttributes)).toMatchObject([
      { verb: 'get', resource: 'devicemounts', namespace: 'default', name },
      { verb: 'list', resource: 'devicemounts', namespace: 'other' },
      { verb: 'list', resource: 'devicemounts', namespace: '' },
    ]);
  });

  test('says that there is none', async () => {
    const { code, json } = await server.as('jane', { path: `${ROOT}/namespaces/default/devicemounts/none` });
    expect([code, json['message']]).toEqual([404, 'devicemounts.device-mounter.io "none" not found']);
  });

  test('prints a table for kubectl', async () => {
    await mount();
    const accept =
      'application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json';
    const { json } = await server.as('jane', { path: `${ROOT}/devicemounts`, headers: ['Accept', accept] });
    expect(json).toMatchObject({
      kind: 'Table',
      apiVersion: 'meta.k8s.io/v1',
      rows: [
        {
          cells: expect.arrayContaining(['web-0', 'main', 'HOSTDEV', 'node-1', 'Mounted']),
          object: { kind: 'PartialObjectMetadata' },
        },
      ],
    });
  });
});
