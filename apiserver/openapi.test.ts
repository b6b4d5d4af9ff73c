import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { makeCluster, TestServer } from '../test/apiserver/harness.ts';

let server: TestServer;
beforeAll(async () => {
  server = await new TestServer(makeCluster()).start();
});
afterAll(() => server.stop());

const GROUP = 'apis/device-mounter.io/v1alpha1';

/** Every `$ref` of a document. */
function refsOf(value: unknown): readonly string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => (key === '$ref' ? [String(inner)] : refsOf(inner)));
}

describe('GET /openapi', () => {
  test('v3 names the document by its hash, and lets clients keep it', async () => {
    const root = await server.send({ path: '/openapi/v3' });
    const { serverRelativeURL } = (root.json['paths'] as Record<string, { serverRelativeURL: string }>)[GROUP] ?? {};
    const { code, headers, json } = await server.send({ path: serverRelativeURL ?? '' });
    expect([code, json['openapi'], headers['cache-control']]).toEqual([
      200,
      '3.0.0',
      'public, immutable, max-age=31536000',
    ]);
    const again = await server.send({
      path: `/openapi/v3/${GROUP}?hash=old`,
      headers: ['If-None-Match', String(headers['etag'])],
    });
    expect([again.code, again.headers['cache-control']]).toEqual([304, undefined]);
  });

  test.each([
    ['/openapi/v2', '#/definitions/', (json: Record<string, unknown>) => json['definitions']],
    [
      `/openapi/v3/${GROUP}`,
      '#/components/schemas/',
      (json: Record<string, unknown>) => (json['components'] as Record<string, unknown>)['schemas'],
    ],
  ])('%s refers only to what it has, and has the two verbs of a pod', async (path, prefix, schemasOf) => {
    const { code, json } = await server.send({ path });
    expect(code).toBe(200);
    const schemas = schemasOf(json) as Record<string, Record<string, unknown>>;
    const refs = refsOf(json).map((ref) => ref.slice(prefix.length));
    expect(refs.filter((ref) => !Object.hasOwn(schemas, ref))).toEqual([]);
    const kind = { group: 'device-mounter.io', version: 'v1alpha1', kind: 'DeviceMount' };
    expect(schemas['io.device-mounter.v1alpha1.DeviceMount']?.['x-kubernetes-group-version-kind']).toEqual([kind]);
    const paths = json['paths'] as Record<string, Record<string, object>>;
    const pod = `/${GROUP}/namespaces/{namespace}/pods/{name}`;
    expect(Object.keys(paths)).toEqual([`${pod}/mount`, `${pod}/unmount`]);
    expect(paths[`${pod}/mount`]).toEqual({
      put: expect.objectContaining({ 'x-kubernetes-group-version-kind': kind, 'x-kubernetes-action': 'put' }),
    });
  });

  // kube-apiserver merges the documents of all its parts by name: of two that differ it makes a `…_v2`.
  test.each([
    ['/openapi/v2', (json: Record<string, unknown>) => json['definitions']],
    [`/openapi/v3/${GROUP}`, (json: Record<string, unknown>) => (json['components'] as { schemas: object }).schemas],
  ])('%s names nothing that is not ours, in this version', async (path, schemasOf) => {
    const schemas = schemasOf((await server.send({ path })).json) as Record<string, Record<string, readonly object[]>>;
    expect(Object.keys(schemas).filter((name) => !name.startsWith('io.device-mounter.v1alpha1.'))).toEqual([]);
    const kinds = Object.values(schemas).flatMap((schema) => schema['x-kubernetes-group-version-kind'] ?? []);
    expect(kinds).toEqual(
      ['DeviceMount', 'DeviceMountList'].map((kind) => ({ group: 'device-mounter.io', version: 'v1alpha1', kind })),
    );
  });

  test('is not served as protobuf', async () => {
    const headers = ['Accept', 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf'];
    expect(await server.send({ path: '/openapi/v2', headers })).toMatchObject({ code: 406 });
  });

  test('and /version need nobody to be known', async () => {
    expect(await server.send({ path: '/version' })).toMatchObject({ code: 200, json: { gitVersion: 'v0.1.0' } });
  });
});
