import { Agent } from 'node:https';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { FORGERIES } from '../../apiserver/forgeries.ts';
import { TestCa } from '../../apiserver/pki.ts';
import { type Endpoint, type SendOptions, send } from '../../apiserver/send.ts';
import { NODES } from '../cluster.ts';
import { ask, find, remove } from '../kube.ts';
import { FUSE, slavesOf, startPod } from '../pods.ts';
import { expectNoPods, removeTargets } from '../targets.ts';
import { until } from '../until.ts';
import { bind, unbindAll } from './bindings.ts';
import { aggregated, behalfOf, deployedReplicas, deployedServer, dryMount, KEYS, mountPath } from './direct.ts';

const UTF8_USER = 'jürgen ✓';
let server: Endpoint;
let pod: string;

beforeAll(async () => {
  server = await deployedServer();
  pod = await startPod(NODES[0]?.name ?? '');
  await bind('contract-jane', 'device-mounter.io:generate', '--user=jane', `--user=${UTF8_USER}`);
  await bind('contract-groups', 'device-mounter.io:generate', '--group=team 399', '--group=a, b');
  await until('the bindings to be in force', async () => (await asJane()).code === 200);
});

afterAll(async () => {
  await removeTargets([pod]);
  await expectNoPods();
  await unbindAll();
});

const janes = (): SendOptions => ({ ...dryMount(pod), headers: behalfOf('jane'), client: KEYS.proxy });
const asJane = () => send(server, janes());

describe('a forged identity at the apiserver’s own port', () => {
  test.each(FORGERIES)('by $how gets nothing', async ({ options, code, user }) => {
    const body = JSON.stringify({ resources: { [FUSE]: '1' } });
    const answer = await send(server, { method: 'PUT', path: mountPath(pod), body, ...options(KEYS) });
    expect([answer.code, answer.json['kind']]).toEqual([code, 'Status']);
    if (user !== undefined) expect(answer.json['message']).toContain(`User "${user}" cannot update`);
  });

  test('by none of these ways has mounted anything', async () => {
    expect(await slavesOf(pod)).toEqual([]);
  });
});

/** Whom kube-apiserver passes a request on for: the admin may speak for anybody. */
const impersonating = (...headers: string[]): SendOptions => ({ ...dryMount(pod), headers });
const groups = (...names: string[]) => names.flatMap((name) => ['Impersonate-Group', name]);
const utf8 = (text: string) => Buffer.from(text, 'utf8').toString('latin1');

describe('an identity that kube-apiserver passes on', () => {
  test.each<[string, string[], number]>([
    ['400 groups', ['Impersonate-User', 'eve', ...groups(...numbered(400))], 200],
    ['399 groups, without the one', ['Impersonate-User', 'eve', ...groups(...numbered(399))], 403],
    ['a group with a comma', ['Impersonate-User', 'eve', ...groups('x', 'a, b')], 200],
    ['the two halves of a group', ['Impersonate-User', 'eve', ...groups('a', 'b')], 403],
    ['headers in lower case', ['impersonate-user', 'jane'], 200],
    ['a name in UTF-8', ['Impersonate-User', utf8(UTF8_USER)], 200],
    ['another name in UTF-8', ['Impersonate-User', utf8('jürgen ✗')], 403],
    [
      'extra keys with what a header cannot hold',
      ['Impersonate-User', 'jane', 'Impersonate-Extra-a.io%2fkey%20%25', utf8('ü')],
      200,
    ],
  ])('with %s is the one it is', async (_name, headers, code) => {
    const answer = await aggregated(impersonating(...headers));
    expect([answer.code, answer.json['kind']]).toEqual([code, code === 200 ? 'DeviceMount' : 'Status']);
  });
});

function numbered(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `team ${index}`);
}

const CONFIG_MAP = '/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication';
const CA_KEY = 'requestheader-client-ca-file';

async function frontProxyCas(): Promise<string> {
  const object = await find<{ data: Record<string, string> }>(CONFIG_MAP);
  return object?.data[CA_KEY] ?? '';
}

async function trustFrontProxyCas(pem: string): Promise<void> {
  await ask('PATCH', CONFIG_MAP, { data: { [CA_KEY]: pem } });
}

describe('the front proxy’s CAs', () => {
  test('are believed when they appear, and no more when they go, on new and on open connections', async () => {
    const next = TestCa.selfSigned('front-proxy-ca-2');
    const client = next.issue({ subject: '/CN=front-proxy-client' });
    const before = await frontProxyCas();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const options: SendOptions = { ...janes(), client };
    const asked = () => ofEach(options);
    expect(await asked()).toEqual([401, 401]);
    try {
      await trustFrontProxyCas(`${before}\n${next.pair.cert}`);
      await until('the new CA to be believed', async () => (await asked()).every((code) => code === 200));
      // A connection of its own, that stays open.
      expect((await send(server, { ...options, agent })).code).toBe(200);
      expect((await asJane()).code).toBe(200);
    } finally {
      await trustFrontProxyCas(before);
    }
    await until('the CA to be forgotten', async () => (await asked()).every((code) => code === 401));
    expect((await send(server, { ...options, agent })).code).toBe(401);
    expect((await asJane()).code).toBe(200);
    agent.destroy();
  });

  test('stay as they were when the ConfigMap is deleted', async () => {
    await remove(CONFIG_MAP);
    expect(await ofEach(janes())).toEqual([200, 200]);
    await until('kube-apiserver to write it again', async () => (await frontProxyCas()) !== '');
    expect(await ofEach(janes())).toEqual([200, 200]);
  });
});

/** What each replica answers. */
async function ofEach(options: SendOptions): Promise<readonly number[]> {
  const replicas = await deployedReplicas();
  return Promise.all(replicas.map(async (replica) => (await send(replica, options)).code));
}
