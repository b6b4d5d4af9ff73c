import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { KubeConfig, V1Pod } from '@kubernetes/client-node';
import { PooledKubeConfig } from '../process/kubernetes.ts';
import { eventually } from '../test/workflows/outcome.ts';
import type { Cluster } from './cluster.ts';
import { kubernetesCluster } from './kubernetes.ts';
import { PodWatch } from './pod-watch.ts';

type Answer = (res: ServerResponse, req: IncomingMessage) => void;

/** Answers of a kube-apiserver, one for each request in its order; the last one again for all that follow. */
let [answers, asked]: [Answer[], string[]] = [[], []];
let kube: Server;
let config: KubeConfig;
let cluster: Cluster;

beforeEach(async () => {
  asked = [];
  // It closes no connection that is idle: a client that stood still for a while would still take it for open.
  kube = createServer({ keepAliveTimeout: 0 }, (req, res) => {
    asked.push(`${req.method} ${req.url}`);
    const [answer] = answers.length > 1 ? answers.splice(0, 1) : answers;
    answer?.(res, req);
  }).listen(0, '127.0.0.1');
  await once(kube, 'listening');
  config = new PooledKubeConfig();
  const server = `http://127.0.0.1:${(kube.address() as AddressInfo).port}`;
  config.loadFromClusterAndUser({ name: 'c', server, skipTLSVerify: true }, { name: 'u' });
  cluster = kubernetesCluster(config, 600_000);
});
afterEach(() => {
  kube.closeAllConnections();
  kube.close();
});

const status = (code: number, reason: string, causes: readonly string[] = []) => ({
  kind: 'Status',
  apiVersion: 'v1',
  status: 'Failure',
  code,
  reason,
  message: `it is ${reason}`,
  details: { causes: causes.map((cause) => ({ reason: cause })) },
});
const pod = (name: string, resourceVersion: string) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { namespace: 'apps', name, uid: `uid-${name}`, resourceVersion },
});

const json =
  (code: number, body: object): Answer =>
  (res) =>
    void res.writeHead(code, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
const refused = (code: number, reason: string, causes?: readonly string[]): Answer =>
  json(code, status(code, reason, causes));
const listed = (version: string, ...names: readonly string[]): Answer =>
  json(200, {
    kind: 'PodList',
    apiVersion: 'v1',
    metadata: { resourceVersion: version },
    items: names.map((name) => pod(name, version)),
  });
const line = (type: string, object: object): string => `${JSON.stringify({ type, object })}\n`;
/** A watch that stays open. */
const watched =
  (...lines: readonly string[]): Answer =>
  (res) => {
    res.writeHead(200, { 'Content-Type': 'application/json' });
    res.write(lines.join(''));
  };
const closed =
  (...lines: readonly string[]): Answer =>
  (res) =>
    void res.writeHead(200, { 'Content-Type': 'application/json' }).end(lines.join(''));
/** Cut off in the middle of an answer, as when the process dies. */
const brokenOff =
  (...lines: readonly string[]): Answer =>
  (res) => {
    res.writeHead(200, { 'Content-Type': 'application/json' });
    res.write(lines.join(''), () => res.destroy());
  };

/** What kube-apiserver answers of a resource that it does not know. */
const noPath: Answer = (res) => void res.writeHead(404, { 'Content-Type': 'text/plain' }).end('404 page not found\n');

const mountsListed =
  (next: string, ...names: readonly string[]): Answer =>
  (res, req) =>
    json(200, {
      kind: 'DeviceMountList',
      apiVersion: 'device-mounter.io/v1beta1',
      metadata: { continue: next },
      items: names.map((name) => ({ metadata: { name, annotations: { a: 'b' }, managedFields: [{}] } })),
    })(res, req);
const tooOld = (next: string): Answer => json(410, { ...status(410, 'Expired'), metadata: { continue: next } });

describe('kubernetesCluster().listMounts()', () => {
  test('reads every page, in one namespace and in all', async () => {
    for (const [namespace, path] of [
      ['apps', '/namespaces/apps/devicemounts'],
      [undefined, '/devicemounts'],
    ] as const) {
      asked = [];
      answers = [mountsListed('next', 'a', 'b'), mountsListed('', 'c')];
      const { items } = await cluster.listMounts('app=x', namespace);
      expect(items.map(({ metadata }) => metadata.name)).toEqual(['a', 'b', 'c']);
      const where = `GET /apis/device-mounter.io/v1beta1${path}?`;
      const query = 'labelSelector=app%3Dx&limit=500';
      expect(asked).toEqual([`${where}${query}`, `${where}continue=next&${query}`]);
    }
  });
});

describe('kubernetesCluster().pageOfMounts()', () => {
  test('reads a page, without what may be large', async () => {
    answers = [mountsListed('next', 'a', 'b'), mountsListed('', 'c')];
    const [a, b, c] = ['a', 'b', 'c'].map((name) => ({ metadata: { name } }));
    expect(await cluster.pageOfMounts('')).toEqual({ items: [a, b], next: 'next' });
    expect(await cluster.pageOfMounts('next')).toEqual({ items: [c], next: '' });
    const queries = asked.map((each) => each.replace('GET /apis/device-mounter.io/v1beta1/devicemounts?', ''));
    expect(queries).toEqual(['labelSelector=&limit=200', 'continue=next&labelSelector=&limit=200']);
  });

  test('goes on with what is there now when the list is too old', async () => {
    answers = [tooOld('now'), mountsListed('', 'c')];
    expect(await cluster.pageOfMounts('next')).toMatchObject({ items: [{ metadata: { name: 'c' } }] });
    expect(asked.map((each) => /continue=(\w+)/.exec(each)?.[1])).toEqual(['next', 'now']);
    answers = [tooOld('now')];
    await expect(cluster.pageOfMounts('next')).rejects.toMatchObject({ code: 410 });
  });
});

describe('kubernetesCluster()', () => {
  const REF = { namespace: 'apps', name: 'a' };
  const NEW = { metadata: { name: 'a' } };

  test.each<[string, Answer, () => Promise<unknown>, unknown]>([
    ['getPod() of none', refused(404, 'NotFound'), () => cluster.getPod(REF), undefined],
    ['deletePod() of none', refused(404, 'NotFound'), () => cluster.deletePod(REF, 'u', 1), undefined],
    ['deletePod() of another', refused(409, 'Conflict'), () => cluster.deletePod(REF, 'u', 1), undefined],
    ['getMount() of none', refused(404, 'NotFound'), () => cluster.getMount(REF), undefined],
    ['getMount() without the CustomResourceDefinition', noPath, () => cluster.getMount(REF), undefined],
    ['deleteMount() of none', refused(404, 'NotFound'), () => cluster.deleteMount(REF, { uid: 'u' }), undefined],
    ['deleteMount() of another', refused(409, 'Conflict'), () => cluster.deleteMount(REF, { uid: 'u' }), undefined],
  ])('%s is well', async (_name, answer, call, expected) => {
    answers = [answer];
    expect(await call()).toBe(expected);
  });

  test.each<[string, Answer, () => Promise<unknown>, object]>([
    [
      'that there are too many requests',
      refused(429, 'TooManyRequests'),
      () => cluster.getPod(REF),
      { code: 429, reason: 'TooManyRequests', message: 'it is TooManyRequests' },
    ],
    [
      'that there is one of that name',
      refused(409, 'AlreadyExists'),
      () => cluster.createPod('apps', NEW),
      { code: 409, reason: 'AlreadyExists' },
    ],
    [
      'that the namespace ends',
      refused(403, 'Forbidden', ['NamespaceTerminating']),
      () => cluster.createPod('apps', NEW),
      { code: 403, causes: ['NamespaceTerminating'] },
    ],
    [
      'that the pod has changed since',
      refused(409, 'Conflict'),
      () => cluster.mergePod(REF, {}),
      { code: 409, reason: 'Conflict' },
    ],
    [
      'that there is no CustomResourceDefinition',
      noPath,
      () => cluster.listMounts(''),
      { code: 404, message: '404 page not found\n' },
    ],
    [
      'something else than a Status',
      (res) => void res.writeHead(502).end('bad gateway'),
      () => cluster.listPods(''),
      { code: 502, message: 'bad gateway' },
    ],
    [
      'that never came',
      (res) => void res.destroy(),
      () => cluster.getPod(REF),
      { code: 0, message: expect.stringMatching(/^it does not answer \(.+\)$/) },
    ],
  ])('throws the answer %s', async (_name, answer, call, error) => {
    answers = [answer];
    await expect(call()).rejects.toMatchObject({ name: 'ClusterError', ...error });
  });

  test('waits for no answer longer than a call may take', async () => {
    answers = [() => undefined];
    cluster = kubernetesCluster(config, 200);
    const calls = [cluster.getPod(REF), cluster.getLease('apps', 'a'), cluster.getMount(REF), cluster.pageOfMounts('')];
    expect(await Promise.allSettled(calls)).toEqual(
      calls.map(() => ({ status: 'rejected', reason: expect.objectContaining({ name: 'ClusterError', code: 0 }) })),
    );
  });
});

async function seen(signal = new AbortController().signal): Promise<readonly string[]> {
  const events: string[] = [];
  try {
    for await (const event of cluster.watchPods('app=x', '7', signal, 'apps')) {
      events.push(`${event.type} ${event.pod.metadata?.resourceVersion}`);
    }
  } catch (err) {
    events.push(err instanceof Error ? `${err.name} ${(err as { code?: number }).code ?? ''}`.trim() : String(err));
  }
  return events;
}

describe('kubernetesCluster().watchPods()', () => {
  const BOOKMARK = line('BOOKMARK', { kind: 'Pod', apiVersion: 'v1', metadata: { resourceVersion: '9' } });
  const ADDED = line('ADDED', pod('a', '8'));
  const TOO_OLD = line('ERROR', status(410, 'Expired'));

  test.each<[string, Answer, readonly string[]]>([
    ['ends when the server closes it', closed(ADDED, BOOKMARK), ['ADDED 8', 'BOOKMARK 9']],
    ['throws 410 for a version that is too old', closed(TOO_OLD), ['ClusterError 410']],
    ['throws 410 in the middle', watched(ADDED, TOO_OLD), ['ADDED 8', 'ClusterError 410']],
    ['throws what it is refused with', refused(429, 'TooManyRequests'), ['ClusterError 429']],
  ])('%s', async (_name, answer, events) => {
    answers = [answer];
    expect(await seen()).toEqual(events);
    const query = 'watch=true&labelSelector=app%3Dx&resourceVersion=7&allowWatchBookmarks=true';
    expect(asked).toEqual([`GET /api/v1/namespaces/apps/pods?${query}`]);
  });

  test('throws when it is broken off, and tells nothing of half a line', async () => {
    answers = [brokenOff(ADDED, BOOKMARK.slice(0, 20))];
    expect(await seen()).toEqual(['ADDED 8', expect.stringMatching(/Error/)]);
  });

  test('ends by its signal', async () => {
    answers = [watched(ADDED)];
    const ended = new AbortController();
    const events = seen(ended.signal);
    await eventually(() => asked.length === 1);
    ended.abort();
    expect((await events).filter((event) => event !== 'ADDED 8')).toEqual([]);
  });
});

/** What a listener hears, until as much as expected. */
async function heard(count: number): Promise<{ readonly told: readonly string[]; readonly errors: unknown[] }> {
  const told: string[] = [];
  const errors: unknown[] = [];
  const watch = new PodWatch({ cluster, labels: 'app=x', onError: (err) => errors.push(err) });
  watch.subscribe((now: V1Pod | undefined, last) => {
    told.push(`${now === undefined ? 'gone' : 'there'} ${last.metadata?.name} ${last.metadata?.resourceVersion}`);
  });
  watch.start();
  await eventually(() => told.length >= count);
  await watch.stop();
  return { told, errors };
}

/** Closes every watch as soon as it is there. */
const closing: Answer = (res, req) => (req.url?.includes('watch=true') ? closed() : listed('7', 'a'))(res, req);

describe('PodWatch', () => {
  test.each<[string, Answer, number]>([
    ['is told that its version is too old', closed(line('ERROR', status(410, 'Expired'))), 1],
    ['is refused', refused(429, 'TooManyRequests'), 1],
    ['is broken off', brokenOff(), 1],
    ['is closed early', closed(), 0],
  ])('finds what it has missed when its watch %s', async (_name, answer, errors) => {
    answers = [listed('7', 'a', 'b'), answer, listed('9', 'b', 'c'), watched(line('DELETED', pod('c', '10')))];
    const result = await heard(6);
    expect(result.told).toEqual(['there a 7', 'there b 7', 'gone a 7', 'there b 9', 'there c 9', 'gone c 10']);
    expect(result.errors).toHaveLength(errors);
    expect(
      asked.filter((each) => each.includes('watch=true')).map((each) => /resourceVersion=(\d+)/.exec(each)?.[1]),
    ).toEqual(['7', '9']);
  });

  test('lists again after a list that was refused', async () => {
    answers = [refused(429, 'TooManyRequests'), listed('7', 'a'), watched()];
    expect(await heard(1)).toMatchObject({ told: ['there a 7'], errors: [{ code: 429 }] });
  });

  test('asks at most once a second where every watch is closed at once', async () => {
    answers = [closing];
    const startedMs = performance.now();
    await heard(3);
    expect(performance.now() - startedMs).toBeGreaterThan(1_900);
  });
});
