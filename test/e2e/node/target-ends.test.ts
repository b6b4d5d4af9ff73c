import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { deviceState } from '../device-state.ts';
import { Ends, type Mounted } from '../ended.ts';
import { inPod } from '../exec.ts';
import { ask, find, remove } from '../kube.ts';
import { isMine, laneNode } from '../lane.ts';
import {
  busybox,
  createPod,
  deletePod,
  evictPod,
  FUSE,
  GROUP,
  mountOk,
  mountsPath,
  PODS,
  podPath,
  podReady,
  unmount,
} from '../pods.ts';
import { expectNoPods } from '../targets.ts';
import { until } from '../until.ts';

const node = laneNode().name;
const all = new Ends();
beforeAll(() => all.start([laneNode()]));
afterAll(async () => {
  await all.stop();
  await expectNoPods();
});
afterEach(() => all.deletePods());

const ENDS = { status: 'COMPLETED', reason: 'TargetGone' } as const;

type Way = readonly [name: string, end: (mounted: Mounted) => Promise<unknown>];

/** The nodes take turns. */
const WAYS: readonly Way[] = [
  ['is deleted', ({ pod }) => deletePod(pod)],
  ['is evicted', ({ pod }) => evictPod(pod)],
  ['finishes', ({ pod }) => inPod(pod, 'touch /tmp/done')],
];

describe('the mount ends with its target, which', () => {
  test.each(WAYS.filter((_way, index) => isMine(index)))('%s', async (_name, end) => {
    const waits = ['sh', '-c', 'until [ -e /tmp/done ]; do sleep 0.1; done'];
    const mounted = await all.mountedTarget(node, { restartPolicy: 'Never', containers: [busybox(waits)] });
    await end(mounted);
    await all.expectEnded(mounted.mounted, ENDS);
    await all.expectFree(node);
  });

  if (isMine(1))
    test('is replaced under its name', async () => {
      const { pod, mounted, before } = await all.mountedTarget(node);
      const object = await find<{ spec: object }>(podPath(pod));
      await deletePod(pod);
      await ask('POST', PODS, { metadata: { name: pod }, spec: object?.spec });
      await podReady(pod);
      await all.expectEnded(mounted, ENDS);
      expect(await deviceState(pod)).toEqual(before);
      const second = await mountOk(pod, FUSE, '&wait_second=30');
      expect(second.spec.podUid).not.toBe(mounted.spec.podUid);
      expect((await unmount(pod)).status).toBe(200);
      expect(await deviceState(pod)).toEqual(before);
    });

  if (isMine(2))
    test('is in a namespace that is deleted', async () => {
      const namespace = 'ends-with-it';
      const path = `/api/v1/namespaces/${namespace}`;
      await ask('POST', '/api/v1/namespaces', { metadata: { name: namespace } });
      const account = `${path}/serviceaccounts/default`;
      await until('its service account', async () => (await find(account)) !== undefined);
      await createPod('web', { nodeName: node }, namespace);
      const mount = `${GROUP}/namespaces/${namespace}/pods/web/mount?device_type=HOSTDEV&wait_second=38`;
      await ask('PUT', mount, { name: 'web-fuse', resources: { [FUSE]: '1' } });
      expect(await find(`${mountsPath(namespace)}/web-fuse`)).toBeDefined();
      await remove(path);
      await until('the namespace to be gone', async () => (await find(path)) === undefined);
      const closed = await all.temporal.closed('web-fuse', namespace);
      expect(closed).toMatchObject({ status: 'COMPLETED', mount: { status: { reason: 'TargetGone', slaves: [] } } });
      await all.expectFree(node);
    });
});
