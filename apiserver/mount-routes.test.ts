import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { makeCluster, type TestCluster, TestServer } from '../test/apiserver/harness.ts';
import { listMounts } from './mount-routes.ts';
import { Parameters } from './parameters.ts';

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

/** Of the mount, without its name. */
const CELLS = 'web-0 main HOSTDEV <none> node-1 Mounted <none> 0s jane <none> <none>'.split(' ');

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

  test('reads of the query only what the review has to know, until that has allowed it', async () => {
    const parameters = new Parameters('/x?fieldSelector=metadata.name=m&labelSelector==&limit=x&timeout=x&watch=1');
    const seen: unknown[] = [];
    const review = async ({ resourceAttributes }: { resourceAttributes?: object }) => {
      seen.push(resourceAttributes, ...parameters.problems);
      return { allowed: false };
    };
    const identity = { name: 'jane', groups: [], extra: {} };
    const call = { req: { params: {}, headers: {} }, res: {}, access: {}, identity, parameters };
    await expect(listMounts({ review } as never, call as never)).rejects.toThrow('is forbidden');
    expect(seen).toEqual([expect.objectContaining({ verb: 'watch', name: 'm' })]);
    expect(parameters.problems).toEqual([]);
  });

  test.each(['labelSelector', 'fieldSelector', 'continue'])('refuses a long %s without repeating it', async (name) => {
    const { code, text } = await server.as('jane', { path: `${ROOT}/devicemounts?${name}=${'a'.repeat(5_000)}` });
    expect([code, text]).toEqual([400, expect.stringContaining('must have at most 4096 characters')]);
    expect(text.length).toBeLessThan(1_000);
  });

  test.each([[[]], [['X-Remote-User', 'system:anonymous', 'X-Remote-Group', 'system:unauthenticated']]])(
    'turns away an anonymous request before it costs anything (%j)',
    async (headers) => {
      const client = headers.length === 0 ? {} : { client: cluster.proxy };
      const { code } = await server.send({ path: `${ROOT}/devicemounts?labelSelector==`, headers, ...client });
      expect([code, server.reviews]).toEqual([401, []]);
    },
  );

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
          cells: [expect.stringMatching(/^web-0-/), ...CELLS],
          object: { kind: 'PartialObjectMetadata' },
        },
      ],
    });
  });
});
