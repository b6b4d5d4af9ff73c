import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { type Answer, type SendOptions, send } from '../../apiserver/send.ts';
import { NODES } from '../cluster.ts';
import { kubectlOk } from '../kubectl.ts';
import { FUSE, slavesOf, startPod } from '../pods.ts';
import { expectNoPods, removeTargets } from '../targets.ts';
import { until } from '../until.ts';
import { bind, unbindAll } from './bindings.ts';
import { aggregated, behalfOf, dryMount, KEYS, mountPath, ROOT } from './direct.ts';
import { OwnServer } from './own-server.ts';

const REVIEWS = '/subjectaccessreviews';
const BODY = JSON.stringify({ resources: { [FUSE]: '1' } });
const AUDIENCE = 'device-mounter.io';
let server: OwnServer;
let pod: string;

beforeAll(async () => {
  pod = await startPod(NODES[0]?.name ?? '');
  await bind('contract-rae', 'device-mounter.io:generate', '--user=rae');
  await bind('contract-token', 'device-mounter.io:generate', '--serviceaccount=default:default');
  server = await OwnServer.start(['--max-mutating-requests=3', `--token-audience=${AUDIENCE}`]);
  await server.register();
});

afterEach(() => {
  server.relay.instead = () => undefined;
  server.relay.away = false;
  server.relay.relayed.length = 0;
});

afterAll(async () => {
  await server?.stop();
  await removeTargets([pod]);
  await expectNoPods();
  await unbindAll();
});

const direct = (options: SendOptions) =>
  send(server.endpoint, { client: KEYS.proxy, headers: behalfOf('rae'), ...options });
const checked = () => direct(dryMount(pod));
const mounted = () => direct({ method: 'PUT', path: mountPath(pod), body: BODY });

describe('the review of a request that came through kube-apiserver', () => {
  const about = { group: 'device-mounter.io', version: 'v1alpha1', namespace: 'default' };
  test.each<[string, number, () => SendOptions, object]>([
    ['a mount', 200, () => dryMount(pod), { ...about, verb: 'update', resource: 'pods', subresource: 'mount' }],
    [
      'an unmount',
      404,
      () => ({ method: 'PUT', path: mountPath(pod, 'device_type=HOSTDEV&dryRun=All', 'unmount') }),
      { ...about, verb: 'update', resource: 'pods', subresource: 'unmount' },
    ],
  ])('asks for %s exactly what is done', async (_name, expected, options, attributes) => {
    const extra = [
      'Impersonate-Extra-Scopes.example%2ecom%2Fx',
      'a',
      'Impersonate-Extra-Scopes.example%2ecom%2Fx',
      'b',
    ];
    const user = ['Impersonate-User', 'rae', 'Impersonate-Group', 'a, b', 'Impersonate-Group', 'c', ...extra];
    const { code } = await aggregated({ ...options(), headers: user });
    expect(code).toBe(expected);
    expect(server.relay.asked(REVIEWS).map(({ body }) => (body as { spec: unknown }).spec)).toEqual([
      {
        user: 'rae',
        groups: ['a, b', 'c', 'system:authenticated'],
        extra: { 'scopes.example.com/x': ['a', 'b'] },
        resourceAttributes: { ...attributes, name: pod },
      },
    ]);
  });
});

const refusal = (denied: boolean) => ({
  code: 201,
  body: {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SubjectAccessReview',
    status: { allowed: false, denied, reason: 'not <today>' },
  },
});

describe('a mount does not happen when its review', () => {
  test.each<[string, number, () => void]>([
    ['denies it', 403, () => insteadOfReviews(() => refusal(true))],
    ['does not allow it', 403, () => insteadOfReviews(() => refusal(false))],
    ['fails', 500, () => insteadOfReviews(() => ({ code: 500, body: { kind: 'Status', message: 'etcd is away' } }))],
    ['says nothing', 403, () => insteadOfReviews(() => ({ code: 201, body: {} }))],
    ['breaks off', 500, () => server.relay.goAway()],
  ])('%s', async (_name, code, arrange) => {
    arrange();
    const answer = await mounted();
    expect([answer.code, answer.json['kind']]).toEqual([code, 'Status']);
    if (code === 403) {
      expect(answer.json['message']).toMatch(
        new RegExp(
          `^pods.device-mounter.io "${pod}" is forbidden: User "rae" cannot update resource "pods/mount" in API group "device-mounter.io" in the namespace "default"(: not &lt;today&gt;)?$`,
        ),
      );
    }
    expect(answer.text).not.toContain('etcd');
    server.relay.away = false;
    expect(await slavesOf(pod)).toEqual([]);
  });
});

function insteadOfReviews(answer: () => ReturnType<OwnServer['relay']['instead']>): void {
  server.relay.instead = ({ path }) => (path.endsWith(REVIEWS) ? answer() : undefined);
}

describe('a review', () => {
  test('is asked for each request anew, so that a right that is taken away is gone', async () => {
    expect([(await checked()).code, (await checked()).code]).toEqual([200, 200]);
    expect(server.relay.asked(REVIEWS)).toHaveLength(2);
    await kubectlOk(['delete', 'rolebinding', 'contract-rae']);
    await until('the right to be gone', async () => (await checked()).code === 403);
  });
});

/** A request by a token of a service account, without any certificate. */
async function asked(...flags: string[]): Promise<Answer> {
  const token = (await kubectlOk(['create', 'token', 'default', ...flags])).trim();
  return send(server.endpoint, { ...dryMount(pod), headers: ['Authorization', `Bearer ${token}`] });
}

describe('a bearer token of a caller past kube-apiserver', () => {
  test('is good when it was made for this API', async () => {
    expect((await asked(`--audience=${AUDIENCE}`)).code).toBe(200);
    const [review] = server.relay.asked(REVIEWS).map(({ body }) => (body as { spec: object }).spec);
    expect(review).toMatchObject({
      user: 'system:serviceaccount:default:default',
      groups: ['system:serviceaccounts', 'system:serviceaccounts:default', 'system:authenticated'],
    });
  });

  test.each([[[]], [['--audience=vault']]])('is none when it was made with %j', async (flags) => {
    expect(await asked(...flags)).toMatchObject({ code: 401, json: { reason: 'Unauthorized' } });
    expect(server.relay.asked(REVIEWS)).toEqual([]);
  });
});

describe('discovery', () => {
  const paths = [
    '/apis',
    '/apis/device-mounter.io',
    ROOT,
    '/openapi/v3',
    '/openapi/v2',
    '/livez',
    '/readyz',
    '/version',
  ];

  test('is served while kube-apiserver is away', async () => {
    server.relay.goAway();
    const answers = await Promise.all(paths.map((path) => direct({ path })));
    expect(answers.map(({ code }) => code)).toEqual(paths.map(() => 200));
    expect((await mounted()).code).toBe(500);
  });

  test('is served under load, and while other requests are turned away', async () => {
    insteadOfReviews(() => 'never answer');
    const held = [mounted(), mounted(), mounted()];
    await until('the requests to wait', async () => server.relay.asked(REVIEWS).length === held.length);
    const turnedAway = await mounted();
    expect([turnedAway.code, turnedAway.headers['retry-after']]).toEqual([429, '1']);
    const load = Array.from({ length: 25 }, () => paths).flat();
    const answers = await Promise.all(load.map((path) => direct({ path })));
    expect(new Set(answers.map(({ code }) => code))).toEqual(new Set([200]));
    // A review that is not answered allows nothing.
    expect(new Set((await Promise.all(held)).map(({ code }) => code))).toEqual(new Set([500]));
    expect(await slavesOf(pod)).toEqual([]);
  });
});
