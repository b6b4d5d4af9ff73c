import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Answer, type Endpoint, type SendOptions, send } from '../../apiserver/send.ts';
import { NODES } from '../cluster.ts';
import { FUSE, slavesOf, startPod } from '../pods.ts';
import { expectNoPods, removeTargets } from '../targets.ts';
import { aggregated, behalfOf, deployedServer, KEYS, mountPath, ROOT } from './direct.ts';

const DRY = 'device_type=HOSTDEV&dryRun=All';
const BODY = JSON.stringify({ resources: { [FUSE]: '1' } });
let server: Endpoint;
let pod: string;

beforeAll(async () => {
  server = await deployedServer();
  pod = await startPod(NODES[0]?.name ?? '');
});

afterAll(async () => {
  // Of all that was asked for here nothing has happened.
  expect(await slavesOf(pod)).toEqual([]);
  await removeTargets([pod]);
  await expectNoPods();
});

type Send = (options: SendOptions) => Promise<Answer>;
const through: Send = (options) => aggregated(options);
const direct: Send = ({ headers = [], ...options }) =>
  send(server, { ...options, client: KEYS.proxy, headers: [...behalfOf('root', 'system:masters'), ...headers] });
const put = (query = DRY, more: SendOptions = {}): SendOptions => ({
  method: 'PUT',
  path: mountPath(pod, query),
  body: BODY,
  ...more,
});

function fieldsOf({ json }: Answer): (string | undefined)[] {
  const { causes = [] } = (json['details'] ?? {}) as { causes?: { field?: string }[] };
  return causes.map(({ field }) => field);
}

describe.each<[string, Send]>([
  ['through kube-apiserver', through],
  ['at its own port', direct],
])('%s', (_route, ask) => {
  test.each([
    ['POST', 'mount', 'PUT'],
    ['PATCH', 'mount', 'PUT'],
    ['DELETE', 'mount', 'PUT'],
    ['GET', 'unmount', 'PUT'],
  ])('%s of %s is not allowed', async (method, verb, allowed) => {
    const { code, json, headers } = await ask({ method, path: mountPath(pod, DRY, verb) });
    expect([code, json['reason'], headers['allow']]).toEqual([405, 'MethodNotAllowed', allowed]);
  });

  test.each<[string, string | undefined, number, RegExp]>([
    ['nothing', undefined, 200, /^application\/json/],
    ['anything', '*/*', 200, /^application\/json/],
    ['any application', 'application/*', 200, /^application\/json/],
    ['JSON', 'application/json', 200, /^application\/json/],
    ['protobuf or JSON', 'application/vnd.kubernetes.protobuf, application/json', 200, /^application\/json/],
    ['a table or JSON', 'application/json;as=Table;v=v1;g=meta.k8s.io, application/json', 200, /^application\/json/],
    ['plain text', 'text/plain', 200, /^text\/plain/],
    ['protobuf', 'application/vnd.kubernetes.protobuf', 406, /^application\/json/],
    ['CBOR', 'application/cbor', 406, /^application\/json/],
  ])('who accepts %s is answered so', async (_name, accept, code, type) => {
    const answer = await ask(put(DRY, { headers: accept === undefined ? [] : ['Accept', accept] }));
    expect(answer.code).toBe(code);
    expect(answer.headers['content-type']).toMatch(type);
    if (code === 406) expect(answer.json['reason']).toBe('NotAcceptable');
  });

  test.each([
    undefined,
    'application/json',
    'application/json; charset=utf-8',
    'application/x-www-form-urlencoded',
    'text/plain',
    'application/vnd.kubernetes.protobuf',
    'no type at all',
  ])('a body of type %s is JSON', async (type) => {
    const headers = type === undefined ? [] : ['Content-Type', type];
    expect(await ask(put(DRY, { headers }))).toMatchObject({ code: 200, json: { kind: 'DeviceMount' } });
  });

  test.each<[string, SendOptions, number, string | undefined]>([
    ['in chunks', { body: [BODY.slice(0, 9), BODY.slice(9)] }, 200, undefined],
    ['in UTF-8', { body: `{"resources":{"${FUSE}":1},"annotations":{"volcano.sh/a":"✓ ü"}}` }, 200, undefined],
    ['that is empty', { body: '' }, 422, 'Invalid'],
    ['in chunks that are none', { body: [] }, 422, 'Invalid'],
    ['that is no JSON', { body: '{"resources":' }, 400, 'BadRequest'],
    ['that is a list', { body: '[]' }, 400, 'BadRequest'],
    ['that is compressed', { headers: ['Content-Encoding', 'gzip'] }, 400, 'BadRequest'],
    ['of 70 KiB', { body: JSON.stringify({ name: 'x'.repeat(70 << 10) }) }, 413, 'RequestEntityTooLarge'],
    ['of 70 KiB in chunks', { body: ['{"name":"', 'x'.repeat(70 << 10), '"}'] }, 413, 'RequestEntityTooLarge'],
  ])('a body %s', async (_name, more, code, reason) => {
    const answer = await ask(put(DRY, more));
    expect([answer.code, answer.json['reason']]).toEqual([code, reason]);
  });

  test('an unmount needs no body', async () => {
    const options = { method: 'PUT', path: mountPath(pod, DRY, 'unmount') };
    const answer = await ask(options);
    expect([answer.code, answer.json['details']]).toEqual([
      404,
      expect.objectContaining({ causes: [expect.objectContaining({ reason: 'NothingMounted' })] }),
    ]);
  });

  test.each<[string, number, readonly (string | undefined)[]]>([
    ['device_type=HOSTDEV&dryRun=All&device_type=HOSTDEV', 200, []],
    ['device_type=hostdev&dryRun=All&wait_second=0&queue=1&container=main', 200, []],
    ['device_type=HOSTDEV&dryRun=All&fieldManager=me&pretty=true&timeout=30s', 200, []],
    ['device_type=HOSTDEV&dryRun=All&fieldValidation=Strict', 200, []],
    ['device_type=HOSTDEV&dryRun=All&device_type=GENERIC', 400, ['device_type']],
    ['dryRun=All', 400, ['device_type']],
    ['device_type=HOSTDEV&dryRun=Some', 400, ['dryRun']],
    ['device_type=HOSTDEV&dryRun=All&wait_second=-1', 400, ['wait_second']],
    ['device_type=HOSTDEV&dryRun=All&wait_second=1.5', 400, ['wait_second']],
    ['device_type=HOSTDEV&dryRun=All&wait_second=1e3', 400, ['wait_second']],
    ['device_type=HOSTDEV&dryRun=All&queue=perhaps', 400, ['queue']],
    ['device_type=HOSTDEV&dryRun=All&container=j%C3%BCrgen', 400, ['container']],
    [
      'device_type=x&dryRun=x&wait_second=x&fieldValidation=x',
      400,
      ['device_type', 'wait_second', 'dryRun', 'fieldValidation'],
    ],
  ])('the query %s', async (query, code, fields) => {
    const answer = await ask(put(query));
    expect([answer.code, fieldsOf(answer)]).toEqual([code, fields]);
  });

  test('a timeout that is none is a bad request', async () => {
    expect((await ask(put(`${DRY}&timeout=soon`))).code).toBe(400);
  });

  test('everything that is wrong with a body is told at once, with its field', async () => {
    const body = JSON.stringify({
      resources: { 'nvidia.com/gpu': 1, [FUSE]: 0 },
      labels: { 'app.kubernetes.io/name': 'x' },
      patches: [{ op: 'add', path: '/spec/hostPID', value: true }],
      leaseSeconds: -1,
    });
    const answer = await ask(put(DRY, { body }));
    expect(answer.code).toBe(422);
    expect(new Set(fieldsOf(answer))).toEqual(
      new Set(['labels[app.kubernetes.io/name]', 'leaseSeconds', 'patches[0].path', `resources[${FUSE}]`]),
    );
  });

  test.each<[string, number, string | undefined]>([
    ['Strict', 422, undefined],
    ['Warn', 200, '299 - "unknown field \\"resource\\""'],
    ['Ignore', 200, undefined],
  ])('an unknown field is met as fieldValidation=%s says', async (validation, code, warning) => {
    const body = JSON.stringify({ resources: { [FUSE]: 1 }, resource: {} });
    const { headers, ...answer } = await ask(put(`${DRY}&fieldValidation=${validation}`, { body }));
    expect([answer.code, headers['warning']]).toEqual([code, warning]);
  });

  test('an unknown parameter is warned of', async () => {
    const { code, headers } = await ask(put(`${DRY}&waitsecond=3`));
    expect([code, headers['warning']]).toEqual([200, '299 - "unknown parameter \\"waitsecond\\""']);
  });
});

/** Each would reach another pod, namespace or route if it were undone somewhere after it was authorised. */
const TRICKS = [
  'default/pods/..%2f..%2fkube-system%2fpods%2fx/mount',
  'default/pods/web%2d0/mount',
  'default/pods/web-0%00/mount',
  'default/pods/%zz/mount',
  'default/pods/..%5cx/mount',
  'default/../kube-system/pods/web-0/mount',
  'default/%2e%2e/kube-system/pods/web-0/mount',
  '/default/pods/web-0/mount',
  'default/pods/./web-0/mount',
  'default/pods/web-0;a=b/mount',
  'default%2fpods%2fx/pods/web-0/mount',
];
const UNKNOWN = [
  'default/pods/web-0/MOUNT',
  'default/pods/web-0/mount/',
  'default/pods/web-0/mount/x',
  'Default/pods/web-0/mount',
  'default/pods/-web/mount',
  // Objects of kube-apiserver, in another version.
  'default/devicemounts/web-0',
];
const namespaced = (rest: string): SendOptions => put(DRY, { path: `${ROOT}/namespaces/${rest}?${DRY}` });

describe('the path', () => {
  test.each(TRICKS)('%s is refused', async (rest) => {
    expect(await direct(namespaced(rest))).toMatchObject({ code: 400, json: { kind: 'Status' } });
    // kube-apiserver cleans some of them, and passes on what is left of others.
    expect([301, 400, 404, 405]).toContain((await through(namespaced(rest))).code);
  });

  test.each(UNKNOWN)('%s is unknown', async (rest) => {
    expect(await direct(namespaced(rest))).toMatchObject({ code: 404, json: { kind: 'Status' } });
    expect((await through(namespaced(rest))).code).toBe(404);
  });
});

const aggregatedType = (version: string) =>
  `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`;

describe('discovery', () => {
  test.each(['v2', 'v2beta1'])('is aggregated in %s for who accepts that, and legacy for others', async (version) => {
    const headers = ['Accept', `${aggregatedType(version)},application/json`];
    const { json, headers: answered } = await direct({ path: '/apis', headers });
    expect([json['kind'], json['apiVersion']]).toEqual(['APIGroupDiscoveryList', `apidiscovery.k8s.io/${version}`]);
    expect(answered['content-type']).toBe(aggregatedType(version));
    expect((await direct({ path: '/apis' })).json['kind']).toBe('APIGroupList');
  });

  test('is merged by kube-apiserver, fresh, without pods of its own', async () => {
    const { json } = await through({ path: '/apis', headers: ['Accept', aggregatedType('v2')] });
    const items = json['items'] as { metadata: { name: string }; versions: Record<string, unknown>[] }[];
    const { versions = [] } = items.find(({ metadata }) => metadata.name === 'device-mounter.io') ?? {};
    const told = versions.map(({ version, freshness, resources }) => [
      version,
      freshness,
      (resources as { resource: string; verbs: string[] }[]).map(({ resource, verbs }) => [resource, verbs.toSorted()]),
    ]);
    // The first is what kubectl takes for a name without a version.
    expect(told).toEqual([
      ['v1beta1', 'Current', [['devicemounts', expect.arrayContaining(['get', 'list', 'watch'])]]],
      ['v1alpha1', 'Current', [['pods', []]]],
    ]);
    const legacy = await through({ path: ROOT });
    expect((legacy.json['resources'] as { name: string }[]).map(({ name }) => name)).not.toContain('pods');
  });

  test.each(['/apis', '/apis/device-mounter.io', ROOT, '/openapi/v2', '/openapi/v3', `/openapi/v3${ROOT}`])(
    '%s is not sent again to who has it',
    async (path) => {
      const { headers } = await direct({ path });
      const etag = String(headers['etag']);
      expect(etag).toMatch(/^"[0-9A-F]{128}"$/);
      const again = await direct({ path, headers: ['If-None-Match', etag] });
      expect([again.code, again.text]).toEqual([304, '']);
    },
  );

  test.each(['/apis', ROOT, '/openapi/v3', '/livez', '/readyz'])('%s is for everybody', async (path) => {
    expect((await send(server, { path })).code).toBe(200);
  });
});
