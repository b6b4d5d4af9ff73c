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
const DEFAULT = 'kubectl.kubernetes.io/default-container';
const FUSE = '{"resources":{"hostdev.k8s.io/dev_fuse":1}}';
const mount = (
  query = 'device_type=HOSTDEV',
  body: string | readonly string[] = FUSE,
  headers: readonly string[] = [],
) => server.as('jane', { method: 'PUT', path: `${POD}/mount?${query}`, body, headers, groups: ['dev'] });

const named = (more: string) => `{"name":"n",${more}${FUSE.slice(1)}`;

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
    const publicKeys = () => [{ key: server.keys.publicKey }];
    expect(verifiedRequest(input as never, { clusterName: 'test', publicKeys })).toEqual({
      kind: 'mount',
      cluster: 'test',
      name: expect.any(String),
      target: { namespace: 'default', pod: 'web-0', podUid: WEB.uid, container: 'sidecar' },
      deviceType: 'HOSTDEV',
      resources: { 'hostdev.k8s.io/dev_fuse': '1' },
      labels: {},
      annotations: {},
      patches: [],
      queue: true,
      onRestart: 'reapply',
      user: { name: 'jane' },
      requestedAt: expect.any(String),
      deadlineSeconds: 7,
    } satisfies Record<
      keyof Omit<MountRequest, 'leaseSeconds' | 'idempotencyKey' | 'split' | 'claims' | 'inject'>,
      unknown
    >);
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

  test('looks at all priority classes at once', async () => {
    const asked: string[] = [];
    const gate = Promise.withResolvers<number>();
    await server.stop();
    server = await new TestServer(cluster, {
      getPriority: (name) => {
        asked.push(name);
        if (asked.length === 2) gate.resolve(0);
        return gate.promise;
      },
    }).start();
    const patches = ['a', 'b', 'a'].map((value) => ({ op: 'add', path: '/spec/priorityClassName', value }));
    const body = JSON.stringify({ resources: { 'hostdev.k8s.io/dev_fuse': 1 }, patches });
    const options = { method: 'PUT', path: `${POD}/mount?device_type=HOSTDEV`, body };
    expect([(await server.as('jane', options)).code, asked]).toEqual([200, ['a', 'b']]);
  });

  test('warns where wait_second is more than an hour, and of long names without breaking an escape', async () => {
    const { headers } = await mount(`device_type=HOSTDEV&wait_second=7200&${'%22'.repeat(300)}=x`);
    expect(headers['warning']).toContain('wait_second is at most 3600: 7200 counts as that');
    expect(server.mounts.asked[0]?.request.deadlineSeconds).toBe(3_600);
    for (const one of String(headers['warning']).split(/, (?=299 )/)) expect(one).toMatch(/^299 - "(?:[^"\\]|\\.)*"$/);
  });

  test('names the device types when it knows none of the name', async () => {
    const { json } = await mount('device_type=FPGA');
    expect(json['message']).toBe(
      'device_type: Unsupported value: "FPGA": must be HOSTDEV (device files of the host) or ' +
        'ASCEND_NPU (NPUs of Huawei: huawei.com/Ascend*, huawei.com/npu-core) or ' +
        'NVIDIA_GPU (GPUs of NVIDIA: nvidia.com/gpu, nvidia.com/gpu.shared, nvidia.com/mig-*) or ' +
        'VOLCANO_VGPU (shares of GPUs by Volcano: volcano.sh/vgpu-number, with volcano.sh/vgpu-memory, vgpu-cores, vgpu-memory-percentage) or ' +
        'GENERIC (any other extended resource, and claims)',
    );
  });

  test.each([
    ['nvidia.com/gpu', 200],
    ['nvidia.com/gpu.shared', 200],
    ['nvidia.com/mig-1g.10gb', 200],
    ['nvidia.com/mig-2g.20gb.me.shared', 200],
    ['nvidia.com/gpus', 422],
    ['nvidia.com/mig-', 422],
    ['nvidia.com/vgpu', 422],
    ['evil.nvidia.com/gpu', 422],
    ['hostdev.k8s.io/dev_fuse', 422],
  ])('NVIDIA_GPU and %s: %i', async (resource, code) => {
    const body = JSON.stringify({ resources: { [resource]: 1 } });
    expect((await mount('device_type=nvidia_gpu&dryRun=All', body)).code).toBe(code);
  });

  test.each([
    [
      'of another type',
      'HOSTDEV',
      { 'example.com/gpu': 1 },
      'it is not a resource of HOSTDEV (device files of the host)',
    ],
    ['of no device', 'GENERIC', {}, 'such as {"hostdev.k8s.io/dev_fuse": 1}'],
  ])('says what it wants instead of resources %s', async (_name, type, resources, message) => {
    const { code, json } = await mount(`device_type=${type}`, JSON.stringify({ resources }));
    expect([code, json['message']]).toEqual([422, expect.stringContaining(message)]);
  });

  test('only says what it would do with dryRun=All', async () => {
    expect((await mount('device_type=HOSTDEV&dryRun=All')).code).toBe(200);
    expect(server.mounts.asked).toEqual([]);
  });

  test.each([
    ['as it is', 'queue=false', '2', 200],
    ['not with queue, where mounts could wait for each other', 'queue=true', '2', 422],
    ['with queue where there is nothing to split', 'queue=true', '1', 200],
    ['not for more devices than a node has pod slots to spare', 'queue=false', '17', 422],
  ])('passes split on %s', async (_name, query, quantity, code) => {
    const body = JSON.stringify({ resources: { 'hostdev.k8s.io/dev_fuse': quantity }, split: true });
    const answer = await mount(`device_type=HOSTDEV&${query}`, body);
    expect(answer.code).toBe(code);
    if (code === 200) expect(server.mounts.asked[0]?.request).toMatchObject({ split: true });
    else expect(fieldsOf(answer.json)).toEqual(['split']);
  });

  test.each(['auto', 'none', 'files'])('passes inject on where it is not auto: %s', async (inject) => {
    const body = JSON.stringify({ resources: { 'hostdev.k8s.io/dev_fuse': 1 }, inject });
    const { json } = await mount('device_type=HOSTDEV', body);
    const passed = [server.mounts.asked[0]?.request, json['spec']].map((one) => one as { readonly inject?: string });
    const expected = inject === 'auto' ? undefined : inject;
    expect(passed.map((one) => one.inject)).toEqual([expected, expected]);
  });

  test('reports every problem of the parameters at once', async () => {
    const { code, json } = await mount('device_type=TAPE&wait_second=-1&queue=maybe', '{"resources":{"a.b/c":0}}');
    expect(code).toBe(400);
    expect(fieldsOf(json)).toEqual(['device_type', 'queue', 'resources[a.b/c]', 'wait_second']);
    expect(server.mounts.asked).toEqual([]);
  });

  test('reports every problem of the body at once, by field', async () => {
    const body = {
      resources: { 'example.com/gpu': '1' },
      labels: { 'app.kubernetes.io/name': 'x' },
      annotations: { 'cdi.k8s.io/a': 'x' },
      patches: ['{"op":"replace","path":"/spec/hostNetwork","value":true}'],
      onRestart: 'explode',
      leaseSeconds: 0,
      name: 'No Name',
    };
    const { code, json } = await mount('device_type=HOSTDEV', JSON.stringify(body));
    expect({ code, reason: json['reason'] }).toEqual({ code: 422, reason: 'Invalid' });
    expect(fieldsOf(json)).toEqual([
      'annotations[cdi.k8s.io/a]',
      'labels[app.kubernetes.io/name]',
      'leaseSeconds',
      'name',
      'onRestart',
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

  test.each([
    ['a native sidecar', '&container=proxy', {}, 'proxy'],
    ['the first where the annotation names none of them, as kubectl does', '', { [DEFAULT]: 'gone' }, 'main'],
    ['the one that the annotation names', '', { [DEFAULT]: 'sidecar' }, 'sidecar'],
  ])('takes %s', async (_name, query, annotations, container) => {
    server.pods.set('default/web-0', { ...WEB, annotations });
    expect((await mount(`device_type=HOSTDEV${query}`)).json).toMatchObject({ spec: { container } });
  });

  test.each([
    ['a container that does not run', { running: ['sidecar'] }, 'ContainerNotReady'],
    ['a pod that is on no node', { node: undefined }, 'ContainerNotReady'],
    ['a pod that is being deleted', { ending: true }, 'TargetGone'],
    ['a pod that has ended', { phase: 'Succeeded' }, 'TargetGone'],
  ])('finds with dryRun=All what would fail for %s', async (_name, change, reason) => {
    const { node, ...rest } = { ...WEB, ...change };
    server.pods.set('default/web-0', { ...rest, ...(node !== undefined && { node }) });
    const { code, json } = await mount('device_type=HOSTDEV&dryRun=All');
    expect({ code, json }).toMatchObject({ code: 409, json: { details: { causes: [{ reason }] } } });
  });

  test('finds with dryRun=All that the name is taken', async () => {
    await mount('device_type=HOSTDEV', named(''));
    const other = await mount('device_type=HOSTDEV&dryRun=All', named('"split":true,'));
    const json = { reason: 'AlreadyExists', details: { causes: [{ reason: 'NameTaken' }] } };
    expect(other).toMatchObject({ code: 409, json });
    expect((await mount('device_type=HOSTDEV&dryRun=All', named(''))).code).toBe(200);
  });

  test('names the containers there are when it is none of them', async () => {
    const { code, json } = await mount('device_type=HOSTDEV&container=x');
    expect([code, json['message']]).toEqual([
      400,
      'Cannot use container "x" of pod "web-0": it must be one of main, sidecar, proxy',
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
