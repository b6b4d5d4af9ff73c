import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { makeCluster, type TestCluster, TestServer } from '../test/apiserver/harness.ts';
import type { ObjectList } from './mounts/objects.ts';

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
    ['5 s with wait_second=0', 'wait_second=0', 5_000],
    ['what the client’s own patience leaves', 'wait_second=0&timeout=4s', 2_000],
    ['a second after waiting for the devices', 'wait_second=30', 1_000],
    ['less where the client has less', 'wait_second=30&timeout=2s', 250],
  ])('waits for the object %s at most', async (_name, query, shownMs) => {
    await mount(`device_type=HOSTDEV&${query}`);
    expect(server.mounts.shownWithin[0]).toBeLessThanOrEqual(shownMs);
    expect(server.mounts.shownWithin[0]).toBeGreaterThan(0);
  });

  test.each([
    ['40 s', 'wait_second=300', 40_000],
    ['what kubectl’s --request-timeout leaves', 'wait_second=300&timeout=15s', 10_000],
  ])('waits for %s at most', async (_name, query, patienceMs) => {
    await mount(`device_type=HOSTDEV&${query}`);
    expect(server.mounts.patience[0]).toBeLessThanOrEqual(patienceMs);
    expect(server.mounts.patience[0]).toBeGreaterThan(patienceMs / 2);
  });

  test('answers within its time whatever does not', async () => {
    const never = new Promise<never>(() => undefined);
    const slow = await new TestServer(cluster, { answerWithinMs: 20, getPod: () => never }).start();
    const options = { method: 'PUT', path: `${POD}/mount?device_type=HOSTDEV`, body: FUSE };
    expect(await slow.as('jane', options)).toMatchObject({ code: 504, json: { reason: 'Timeout' } });
    await slow.stop();
  });
});
