import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { DRY_RUN, makeCluster, type TestCluster, TestServer } from '../../test/apiserver/harness.ts';
import type { Identity } from './identity.ts';
import { Tokens } from './tokens.ts';

const JOE: Identity = { name: 'joe', groups: ['dev'], extra: { scopes: ['a'] } };

let cluster: TestCluster;
let server: TestServer;
let asked: string[];
let broken: boolean;
let nowMs: number;
beforeAll(() => {
  cluster = makeCluster();
});
beforeEach(async () => {
  asked = [];
  broken = false;
  nowMs = 0;
  const review = async (token: string): Promise<Identity | undefined> => {
    asked.push(token);
    if (broken) throw new Error('kube-apiserver is away');
    return token === 'good' ? JOE : undefined;
  };
  const tokens = new Tokens(review, () => nowMs);
  server = await new TestServer(cluster, { tokens }).start();
});
afterEach(() => server.stop());

const get = (token: string, more: readonly string[] = [], client?: TestCluster['proxy']) =>
  server.send({ ...DRY_RUN, headers: ['Authorization', token, ...more], ...(client !== undefined && { client }) });

describe('a bearer token', () => {
  test('tells who asks, and is looked at once in a while only', async () => {
    expect(await get('Bearer good')).toMatchObject({ code: 200 });
    nowMs = 10_000;
    expect(await get('bearer  good')).toMatchObject({ code: 200 });
    expect(asked).toEqual(['good']);
    expect(server.reviews[0]).toMatchObject({ user: 'joe', groups: ['dev', 'system:authenticated'], extra: JOE.extra });
    nowMs = 10_001;
    expect(await get('Bearer good')).toMatchObject({ code: 200 });
    expect(asked).toEqual(['good', 'good']);
  });

  test('that is not good is no anonymous request', async () => {
    expect([(await get('Bearer bad')).code, (await get('Bearer bad')).code]).toEqual([401, 401]);
    expect([asked, server.reviews]).toEqual([['bad'], []]);
  });

  test('is asked about again when there was no opinion', async () => {
    broken = true;
    expect((await get('Bearer good')).code).toBe(500);
    broken = false;
    expect((await get('Bearer good')).code).toBe(200);
  });

  test('is not asked about while many others are, and costs nothing then', async () => {
    const gate = Promise.withResolvers<Identity | undefined>();
    const tokens = new Tokens(
      () => gate.promise,
      () => nowMs,
    );
    const asking = Array.from({ length: 64 }, (_, index) => tokens.identityOf(`t${index}`));
    await expect(tokens.identityOf('one more')).rejects.toThrow('Too many tokens');
    gate.resolve(JOE);
    await Promise.all(asking);
    expect(await tokens.identityOf('one more')).toBe(JOE);
  });

  test('is nothing beside the front proxy, whose word counts', async () => {
    await get('Bearer good', ['X-Remote-User', 'jane'], cluster.proxy);
    expect([asked, server.reviews[0]?.user]).toEqual([[], 'jane']);
  });

  test.each(['Basic good', 'Bearer', 'Bearer a b'])('is not in %j', async (header) => {
    expect((await get(header)).code).toBe(401);
    expect([asked, server.reviews]).toEqual([[], []]);
  });

  test('is not looked at where none is accepted', async () => {
    const plain = await new TestServer(cluster).start();
    try {
      expect((await plain.send({ ...DRY_RUN, headers: ['Authorization', 'Bearer good'] })).code).toBe(401);
      expect(plain.reviews).toEqual([]);
    } finally {
      await plain.stop();
    }
  });
});
