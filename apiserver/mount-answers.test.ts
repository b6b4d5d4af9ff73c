import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { makeCluster, type TestCluster, TestServer } from '../test/apiserver/harness.ts';
import type { ObjectList } from './mounts/objects.ts';
import { patienceOf } from './requests/patience.ts';

let cluster: TestCluster;
let server: TestServer;
beforeAll(() => {
  cluster = makeCluster();
});
beforeEach(async () => {
  server = await new TestServer(cluster).start();
});
afterEach(() => server.stop());

const POD = '/apis/device-mounter.io/v1alpha1/namespaces/default/pods/web-0';
const FUSE = '{"resources":{"hostdev.k8s.io/dev_fuse":1}}';
const NAMED = `{"name":"n",${FUSE.slice(1)}`;
const mount = (query = 'device_type=HOSTDEV', body: string = FUSE) =>
  server.as('jane', { method: 'PUT', path: `${POD}/mount?${query}`, body });

describe('the answer to PUT mount', () => {
  test('is 202 at once with wait_second=0', async () => {
    const { code, json } = await mount('device_type=HOSTDEV&wait_second=0');
    expect({ code, json }).toMatchObject({ code: 202, json: { status: { phase: 'Pending' } } });
    expect(server.mounts.asked[0]?.request.deadlineSeconds).toBe(600);
    expect(server.mounts.patience).toEqual([0]);
  });

  test('has the identity of the object, also to a request that is repeated', async () => {
    const first = await mount('device_type=HOSTDEV', NAMED);
    expect(first.json['metadata']).toMatchObject({ uid: expect.stringMatching(/^object of /) });
    expect((await mount('device_type=HOSTDEV', NAMED)).json['metadata']).toEqual(first.json['metadata']);
  });

  test.each<[string, (list: ObjectList) => ObjectList]>([
    [
      'is of an earlier mount',
      ({ metadata, items }) => ({
        metadata,
        items: items.map(({ status, ...item }) => ({
          ...item,
          ...(status && { status: { ...status, mountUid: 'x' } }),
        })),
      }),
    ],
    ['is not there', ({ metadata }) => ({ metadata, items: [] })],
    [
      'cannot be read',
      () => {
        throw new Error('there is no such kind');
      },
    ],
  ])('has no version that a watch could begin with when the object %s', async (_name, change) => {
    await mount('device_type=HOSTDEV', NAMED);
    server.listObjects = async (target) => change(await server.mounts.listObjects(target));
    const { code, json } = await mount('device_type=HOSTDEV', NAMED);
    const { uid } = server.mounts.mounts.get('default/n')?.metadata ?? {};
    expect([code, json['metadata']]).toMatchObject([200, { uid, resourceVersion: '' }]);
  });

  test('warns of what the container lacks, each time that it is asked for, in a header that kubectl prints', async () => {
    const message = `Container "${'c'.repeat(63)}": "libcuda.so.1" is missing. ${'What to do. '.repeat(18)}`.trim();
    server.mounts.warnings = [{ type: 'DriverFilesMissing', message }];
    const quoted = message.replaceAll('"', '\\"');
    for (const _time of ['first', 'again']) {
      const { code, headers } = await mount('device_type=HOSTDEV', NAMED);
      expect([code, headers['warning']]).toEqual([200, `299 - "${quoted}"`]);
    }
  });

  test('has no version for a dry run', async () => {
    const { code, json } = await mount('device_type=HOSTDEV&dryRun=All');
    expect([code, json['metadata']]).toMatchObject([200, { uid: '', resourceVersion: '' }]);
  });

  test.each([
    ['with wait_second=0', 0, undefined],
    ['with wait_second=0 of a client with little patience', 0, 4],
    ['while it waits for the devices', 300, undefined],
    ['while kubectl’s --request-timeout leaves less', 300, 15],
    ['of a client with less patience than for the devices', 30, 2],
  ])('waits as long as patienceOf() says %s', async (_name, waitSeconds, timeoutSeconds) => {
    const startedMs = performance.now();
    const timeout = timeoutSeconds === undefined ? '' : `&timeout=${timeoutSeconds}s`;
    await mount(`device_type=HOSTDEV&wait_second=${waitSeconds}${timeout}`);
    const timeoutMs = timeoutSeconds && timeoutSeconds * 1_000;
    const most = patienceOf(waitSeconds, timeoutMs, 0);
    // Some of the time that this request took had passed by then, on a machine that stands still maybe seconds.
    const least = patienceOf(waitSeconds, timeoutMs, performance.now() - startedMs);
    const { patience, shownWithin } = server.mounts;
    for (const [waited, atLeast, atMost] of [
      [patience, least.mountedMs, most.mountedMs],
      [shownWithin, least.shownMs, most.shownMs],
    ] as const) {
      expect(waited[0]).toBeGreaterThanOrEqual(atLeast);
      expect(waited[0]).toBeLessThanOrEqual(atMost);
    }
  });

  test('answers within its time whatever does not', async () => {
    const never = new Promise<never>(() => undefined);
    const slow = await new TestServer(cluster, { answerWithinMs: 20, getPod: () => never }).start();
    const options = { method: 'PUT', path: `${POD}/mount?device_type=HOSTDEV`, body: FUSE };
    try {
      expect(await slow.as('jane', options)).toMatchObject({ code: 504, json: { reason: 'Timeout' } });
    } finally {
      await slow.stop();
    }
  });
});
