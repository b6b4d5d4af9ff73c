import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { MountRequest } from '../contract/requests.ts';
import { verifiedRequest } from '../contract/signature.ts';
import { makeCluster, type TestCluster, TestServer, WEB } from '../test/apiserver/harness.ts';

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

describe('PUT mount', () => {
  test('answers the DeviceMount after a review of exactly what is done', async () => {
    const { code, json } = await mount();
    expect({ code, json }).toMatchObject({
      code: 200,
      json: {
        apiVersion: 'device-mounter.io/v1alpha1',
        kind: 'DeviceMount',
        metadata: { namespace: 'default', name: expect.stringMatching(/^web-0-[a-z0-9]{5}$/) },
        spec: { podName: 'web-0', podUid: WEB.uid, container: 'main', resources: { 'hostdev.k8s.io/dev_fuse': '1' } },
        status: { phase: 'Mounted', user: 'jane', node: 'node-1' },
      },
    });
    expect(server.reviews).toEqual([
      {
        user: 'jane',
        groups: ['dev', 'system:authenticated'],
        extra: {},
        resourceAttributes: {
          group: 'device-mounter.io',
          version: 'v1alpha1',
          resource: 'pods',
          subresource: 'mount',
          namespace: 'default',
          name: 'web-0',
          verb: 'update',
        },
      },
    ]);
  });

  test('signs a request that is complete', async () => {
    await mount('device_type=hostdev&container=sidecar&wait_second=7&queue=1');
    const [input] = server.mounts.asked;
    expect(verifiedRequest(input as never, [server.keys.publicKey])).toEqual({
      kind: 'mount',
      name: expect.any(String),
      target: { namespace: 'default', pod: 'web-0', podUid: WEB.uid, container: 'sidecar' },
      deviceType: 'HOSTDEV',
      resources: { 'hostdev.k8s.io/dev_fuse': '1' },
      labels: {},
      annotations: {},
      patches: [],
      queue: true,
      onRestart: 'reapply',
      user: { name: 'jane', groups: ['dev', 'system:authenticated'] },
      requestedAt: expect.any(String),
      deadlineSeconds: 7,
    } satisfies Record<keyof Omit<MountRequest, 'leaseSeconds' | 'idempotencyKey'>, unknown>);
  });

  test.each([
    ['form-urlencoded, as curl --data sends it', ['Content-Type', 'application/x-www-form-urlencoded'], FUSE],
    ['of no type', [], FUSE],
    ['in chunks', [], ['{"resources":{"hostdev.k8s.io', '/dev_fuse":"1"}}']],
  ])('takes a body %s', async (_name, headers, body) => {
    expect((await mount('device_type=HOSTDEV', body, headers)).code).toBe(200);
  });

  test('answers the sentence of the original to who asks for text', async () => {
    const { code, text } = await mount('device_type=hostdev', FUSE, ['Accept', 'text/plain']);
    expect([code, text]).toEqual([200, 'Successfully mounted HOSTDEV devices']);
  });

  test('answers 202 at once with wait_second=0', async () => {
    const { code, json } = await mount('device_type=HOSTDEV&wait_second=0');
    expect({ code, json }).toMatchObject({ code: 202, json: { status: { phase: 'Pending' } } });
    expect(server.mounts.asked[0]?.request.deadlineSeconds).toBe(600);
  });

  test.each([
    ['40 s', 'wait_second=300', 40_000],
    ['what kubectl’s --request-timeout leaves', 'wait_second=300&timeout=15s', 10_000],
  ])('waits for %s at most', async (_name, query, patienceMs) => {
    await mount(`device_type=HOSTDEV&${query}`);
    expect(server.mounts.patience[0]).toBeLessThanOrEqual(patienceMs);
    expect(server.mounts.patience[0]).toBeGreaterThan(patienceMs - 2_000);
  });

  test('only says what it would do with dryRun=All', async () => {
    expect((await mount('device_type=HOSTDEV&dryRun=All')).code).toBe(200);
    expect(server.mounts.asked).toEqual([]);
  });

  test('reports every problem of the parameters at once', async () => {
    const { code, json } = await mount('device_type=TAPE&wait_second=-1&queue=maybe', '{"resources":{"a.b/c":0}}');
    expect(code).toBe(400);
    expect(fieldsOf(json)).toEqual(['device_type', 'queue', 'resources[a.b/c]', 'wait_second']);
    expect(server.mounts.asked).toEqual([]);
  });

  test('reports every problem of the body at once, by field', async () => {
    const body = {
      resources: { 'example.com/gpu': '1', 'hostdev.k8s.io/dev_fuse': 'many' },
      labels: { 'app.kubernetes.io/name': 'x' },
      annotations: { 'cdi.k8s.io/a': 'x' },
      patches: ['{"op":"replace","path":"/spec/hostNetwork","value":true}'],
      onRestart: 'explode',
      leaseSeconds: 0,
      name: 'No Name',
    };
    const { code, json } = await mount('device_type=HOSTDEV', JSON.stringify(body));
    expect({ code, reason: json['reason'] }).toEqual({ code: 422, reason: 'Invalid' });
    expect(fieldsOf(json)).toEqual(['leaseSeconds', 'name', 'onRestart', 'resources[hostdev.k8s.io/dev_fuse]']);
    const { onRestart, leaseSeconds, name, ...rest } = body;
    const second = await mount(
      'device_type=HOSTDEV',
      JSON.stringify({ ...rest, resources: { 'example.com/gpu': '1' } }),
    );
    expect(fieldsOf(second.json)).toEqual([
      'annotations[cdi.k8s.io/a]',
      'labels[app.kubernetes.io/name]',
      'patches[0].path',
      'resources[example.com/gpu]',
    ]);
  });

  test.each([
    ['what is not JSON', 'resources=1', 400],
    ['a list', '[]', 400],
    ['nothing to mount', '', 422],
    ['too much', `{"annotations":{"a":"${'x'.repeat(70_000)}"}}`, 413],
  ])('refuses a body with %s', async (_name, body, code) => {
    expect((await mount('device_type=HOSTDEV', body)).code).toBe(code);
  });

  test('warns of what it does not know, or refuses it under Strict', async () => {
    const body = `{"annotation":{},${FUSE.slice(1)}`;
    const warned = await mount('device_type=HOSTDEV&colour=red', body);
    expect([warned.code, warned.headers['warning']]).toEqual([
      200,
      '299 - "unknown parameter \\"colour\\"", 299 - "unknown field \\"annotation\\""',
    ]);
    expect((await mount('device_type=HOSTDEV&fieldValidation=Strict', body)).code).toBe(422);
  });

  test('says in Kubernetes’ words that there is no such pod', async () => {
    const { code, json } = await server.as('jane', {
      method: 'PUT',
      path: `${ROOT}/namespaces/default/pods/gone/mount?device_type=HOSTDEV`,
      body: FUSE,
    });
    expect({ code, json }).toMatchObject({
      code: 404,
      json: { message: 'pods "gone" not found', reason: 'NotFound', details: { name: 'gone', kind: 'pods' } },
    });
  });

  test('names the containers there are when it is none of them', async () => {
    const { code, json } = await mount('device_type=HOSTDEV&container=x');
    expect([code, json['message']]).toEqual([
      400,
      'Cannot use container "x" of pod "web-0": it must be one of main, sidecar',
    ]);
  });

  test('needs the right to create pods for a patch', async () => {
    server.review = ({ resourceAttributes }) => ({ allowed: resourceAttributes?.verb === 'update' });
    const body = `{"patches":["{\\"op\\":\\"add\\",\\"path\\":\\"/spec/schedulerName\\",\\"value\\":\\"volcano\\"}"],${FUSE.slice(1)}`;
    const { code, json } = await mount('device_type=HOSTDEV', body);
    expect([code, json['message']]).toEqual([
      403,
      'pods is forbidden: User "jane" cannot create resource "pods" in API group "" in the namespace "default"',
    ]);
    expect(server.mounts.asked).toEqual([]);
  });
});

function fieldsOf(status: Record<string, unknown>): readonly string[] {
  const { causes } = status['details'] as { readonly causes: readonly { readonly field?: string }[] };
  return causes.flatMap(({ field }) => field ?? []).toSorted();
}

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
    expect(server.mounts.patience.at(-1)).toBeLessThanOrEqual(3_000);
  });

  test('tells that nothing is mounted', async () => {
    const { code, json } = await unmount();
    expect({ code, json }).toMatchObject({
      code: 404,
      json: { details: { causes: [{ reason: 'NothingMounted' }] } },
    });
  });
});

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
    let open = () => {};
    server.mounts.gate = new Promise((resolve) => {
      open = resolve;
    });
    const waiting = Array.from({ length: 10 }, () => mount());
    await until(() => server.mounts.asked.length === 10);
    const { code, headers } = await mount();
    expect([code, headers['retry-after']]).toEqual([429, '1']);
    open();
    expect((await Promise.all(waiting)).map((answer) => answer.code)).toEqual(Array.from({ length: 10 }, () => 200));
  });

  test('logs one line with who, what and the Audit-ID, and echoes that', async () => {
    const { headers } = await mount('device_type=HOSTDEV', FUSE, ['Audit-ID', 'a-1']);
    expect(headers['audit-id']).toBe('a-1');
    await until(() => server.logLines.length > 0);
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

  test('answers what waits while it drains, and takes nothing new', async () => {
    let open = () => {};
    server.mounts.gate = new Promise((resolve) => {
      open = resolve;
    });
    const waiting = mount();
    await until(() => server.mounts.asked.length === 1);
    const drained = server.tls.drain(30_000);
    await expect(mount()).rejects.toThrow('ECONNREFUSED');
    open();
    expect((await waiting).code).toBe(200);
    await drained;
    server = await new TestServer(cluster).start();
  });
});

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

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
          {
            name: 'devicemounts',
            singularName: 'devicemount',
            namespaced: true,
            kind: 'DeviceMount',
            verbs: ['get', 'list', 'watch'],
          },
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
