import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { makeCluster, type TestCluster, TestServer } from '../test/apiserver/harness.ts';
import { WatchClient } from '../test/apiserver/watch-client.ts';

let cluster: TestCluster;
let server: TestServer;
const watches: WatchClient[] = [];
let ending: AbortController;
beforeAll(() => {
  cluster = makeCluster();
});
beforeEach(async () => {
  ending = new AbortController();
  server = await new TestServer(cluster, { ending: ending.signal }).start();
});
afterEach(async () => {
  for (const watch of watches.splice(0)) watch.end();
  await server.stop();
});

const ROOT = '/apis/device-mounter.io/v1alpha1';
const MOUNTS = `${ROOT}/namespaces/default/devicemounts`;

function put(verb: 'mount' | 'unmount', body?: object) {
  const path = `${ROOT}/namespaces/default/pods/web-0/${verb}?device_type=HOSTDEV`;
  return server.as('jane', { method: 'PUT', path, ...(body !== undefined && { body: JSON.stringify(body) }) });
}

function mount(name: string, more: object = {}) {
  return put('mount', { name, resources: { 'hostdev.k8s.io/dev_fuse': 1 }, ...more });
}

async function watch(query: string, accept?: string): Promise<WatchClient> {
  const client = await WatchClient.open(server, `${MOUNTS}?watch=1&${query}`, accept);
  watches.push(client);
  return client;
}

describe('GET devicemounts?watch', () => {
  test('tells what there is, then what changes, then what is no longer listed', async () => {
    await mount('a');
    const client = await watch('');
    expect(await client.told()).toBe('ADDED a Mounted');
    await mount('b');
    expect(await client.told()).toBe('ADDED b Mounted');
    await put('unmount');
    expect([await client.told(), await client.told()]).toEqual(['MODIFIED a Releasing', 'MODIFIED b Releasing']);
    server.mounts.mounts.delete('default/a');
    expect(await client.told()).toBe('DELETED a Releasing');
    expect(server.reviews.at(1)?.resourceAttributes).toMatchObject({ verb: 'watch', namespace: 'default' });
  });

  test('begins where a list has ended', async () => {
    await mount('old');
    const old = server.mounts.mounts.get('default/old');
    if (old === undefined) throw new Error('it was mounted');
    const before = { ...old.metadata, resourceVersion: String(Date.now() - 60_000) };
    server.mounts.mounts.set('default/old', { ...old, metadata: before });
    const list = await server.as('jane', { path: MOUNTS });
    const client = await watch(
      `resourceVersion=${(list.json['metadata'] as { resourceVersion: string }).resourceVersion}`,
    );
    await mount('new');
    expect(await client.told()).toBe('ADDED new Mounted');
  });

  test.each([
    ['too long ago', '1700000000000', '410'],
    ['no version', 'x', '400'],
  ])('refuses to begin %s', async (_name, version, code) => {
    await expect(watch(`resourceVersion=${version}`)).rejects.toThrow(code);
  });

  test('sends what is first asked for by WatchList, and the sign of its end', async () => {
    await mount('a');
    const client = await watch(
      'sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&resourceVersion=0',
    );
    expect(await client.told()).toBe('ADDED a Mounted');
    expect(await client.next()).toMatchObject({
      type: 'BOOKMARK',
      object: {
        kind: 'DeviceMount',
        metadata: {
          resourceVersion: expect.stringMatching(/^\d{13}$/),
          annotations: { 'k8s.io/initial-events-end': 'true' },
        },
      },
    });
  });

  test('follows selectors, and tells when a mount no longer matches', async () => {
    await mount('a', { labels: { app: 'x' } });
    await mount('b', { labels: { app: 'y' } });
    const labelled = await watch('labelSelector=app%3Dy');
    const mounted = await watch('fieldSelector=status.phase%3DMounted,metadata.name%3Da');
    expect([await labelled.told(), await mounted.told()]).toEqual(['ADDED b Mounted', 'ADDED a Mounted']);
    expect(server.reviews.at(-1)?.resourceAttributes).toMatchObject({ verb: 'watch', name: 'a' });
    await put('unmount');
    expect([await labelled.told(), await mounted.told()]).toEqual(['MODIFIED b Releasing', 'DELETED a Mounted']);
  });

  test('ends after timeoutSeconds, and when the server is to stop', async () => {
    const timed = await watch('timeoutSeconds=1');
    expect(await timed.told()).toBe('end');
    const open = await watch('');
    ending.abort();
    expect(await open.told()).toBe('end');
  });
});

describe('GET devicemounts?watch as a table', () => {
  test('has its columns once', async () => {
    await mount('a');
    await mount('b');
    const client = await watch('', 'application/json;as=Table;v=v1;g=meta.k8s.io');
    const [one, two] = [await client.next(), await client.next()];
    expect(one?.object).toMatchObject({ kind: 'Table', rows: [{ cells: expect.arrayContaining(['a']) }] });
    expect(one?.object['columnDefinitions']).not.toEqual([]);
    expect(two?.object).toMatchObject({ columnDefinitions: [], rows: [{ cells: expect.arrayContaining(['b']) }] });
  });
});

describe('GET devicemounts in pages', () => {
  test('goes on where the page before has ended', async () => {
    for (const name of ['a', 'b', 'c']) await mount(name);
    const names: string[] = [];
    let query = 'limit=2';
    for (;;) {
      const { json } = await server.as('jane', { path: `${ROOT}/devicemounts?${query}` });
      const { items, metadata } = json as unknown as {
        items: { metadata: { name: string } }[];
        metadata: { continue?: string; remainingItemCount?: number };
      };
      names.push(...items.map((item) => item.metadata.name));
      if (metadata.continue === undefined) break;
      expect(metadata.remainingItemCount).toBe(1);
      query = `limit=2&continue=${metadata.continue}`;
    }
    expect(names).toEqual(['a', 'b', 'c']);
  });

  test.each([
    ['continue=x', 400, /continue/],
    ['fieldSelector=spec.nope%3D1', 400, /field label not supported: spec.nope/],
    ['labelSelector=a%20b', 400, /labelSelector/],
    ['resourceVersionMatch=Exact&resourceVersion=7', 410, /too old/],
  ])('refuses %s', async (query, code, message) => {
    const { json } = await server.as('jane', { path: `${MOUNTS}?${query}` });
    expect(json).toMatchObject({ kind: 'Status', code, message: expect.stringMatching(message) });
  });
});
