import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { DeviceMount } from '../../../contract/device-mount.ts';
import { mountWorkflowId } from '../../../contract/names.ts';
import { CLUSTER_NAME } from '../../../deploy/local/addresses.ts';
import { deviceState, restartContainer } from '../device-state.ts';
import { type Closing, Ends, type Mounted } from '../ended.ts';
import { canOpen, holdOpen, inPod } from '../exec.ts';
import { ask, remove, send } from '../kube.ts';
import { isMine, laneNode, NAMESPACE } from '../lane.ts';
import { busybox, deletePod, deviceMount, evictPod, FUSE, mountOk, PODS, podPath, TUN, unmount } from '../pods.ts';
import { expectNoPods } from '../targets.ts';
import { temporalCli } from '../temporal.ts';
import { until } from '../until.ts';

const node = laneNode().name;
const all = new Ends();
beforeAll(() => all.start([laneNode()]));
afterAll(async () => {
  await all.stop();
  await expectNoPods();
});
afterEach(() => all.deletePods());

const slaveOf = ({ status }: DeviceMount): string => podPath(status.slaves[0]?.name ?? '');

const cancel = ({ mounted }: Mounted): Promise<string> =>
  temporalCli('workflow', 'cancel', '--workflow-id', mountWorkflowId(CLUSTER_NAME, NAMESPACE, mounted.metadata.name));

type Way = readonly [name: string, end: (mounted: Mounted) => Promise<unknown>, closing: Closing];

const UNMOUNTED = { status: 'COMPLETED', reason: 'Unmounted' } as const;
const CANCELED = { status: 'CANCELLED', reason: 'Canceled' } as const;
const SLAVE_ENDED = { status: 'FAILED', reason: 'SlaveEnded' } as const;

/** The nodes take turns. */
const WAYS: readonly Way[] = [
  ['unmount', ({ pod }) => unmount(pod), UNMOUNTED],
  ['unmount of its name', ({ pod, mounted }) => unmount(pod, `&mount=${mounted.metadata.name}`), UNMOUNTED],
  ['Cancel in Temporal', cancel, CANCELED],
  [
    'Cancel in Temporal while a process uses the device',
    async (mounted) => {
      await holdOpen(mounted.pod, '/dev/fuse');
      await cancel(mounted);
    },
    CANCELED,
  ],
  ['delete of its slave', ({ mounted }) => ask('DELETE', slaveOf(mounted)), SLAVE_ENDED],
  [
    'forced delete of its slave',
    ({ mounted }) => ask('DELETE', `${slaveOf(mounted)}?gracePeriodSeconds=0`),
    SLAVE_ENDED,
  ],
  ['eviction of its slave', ({ mounted }) => evictPod(mounted.status.slaves[0]?.name ?? ''), SLAVE_ENDED],
];

describe('the mount ends, and its container is as before, after', () => {
  test.each(WAYS.filter((_way, index) => isMine(index)))('%s', async (_name, end, closing) => {
    const mounted = await all.mountedTarget(node);
    await end(mounted);
    await all.expectEnded(mounted.mounted, closing);
    expect(await deviceState(mounted.pod)).toEqual(mounted.before);
    await all.expectFree(node);
  });

  test('unmount of one of two mounts, and then of all', async () => {
    const pod = await all.target(node);
    const before = await deviceState(pod);
    const first = await mountOk(pod, TUN);
    const one = await deviceState(pod);
    const second = await mountOk(pod, FUSE);
    expect((await unmount(pod, `&mount=${second.metadata.name}`)).status).toBe(200);
    expect((await all.temporal.closed(second.metadata.name)).status).toBe('COMPLETED');
    expect(await deviceState(pod)).toEqual(one);
    expect((await all.temporal.workflowOf(first.metadata.name))?.status).toBe('RUNNING');
    const third = await mountOk(pod, FUSE);
    expect((await unmount(pod)).status).toBe(200);
    expect(await deviceState(pod)).toEqual(before);
    // Slaves are the pod's, so both have to end first.
    for (const { metadata } of [first, third]) await all.temporal.closed(metadata.name);
    await all.expectEnded(first, UNMOUNTED);
    await all.expectEnded(third, UNMOUNTED);
    await all.expectFree(node);
  });

  if (isMine(0))
    test('its lease, which a PUT of the same name has renewed', async () => {
      const pod = await all.target(node);
      const before = await deviceState(pod);
      const name = `lease-${pod}`;
      const first = await mountOk(pod, FUSE, '', { name, leaseSeconds: 600 });
      const longer = await mountOk(pod, FUSE, '', { name, leaseSeconds: 900 });
      const shorter = await mountOk(pod, FUSE, '', { name, leaseSeconds: 5 });
      expect([longer, shorter].map(({ metadata }) => metadata.uid)).toEqual([first.metadata.uid, first.metadata.uid]);
      const [firstEnd = NaN, longerEnd = NaN, end = NaN] = [first, longer, shorter].map(({ status }) =>
        Date.parse(status.leaseEndsAt ?? ''),
      );
      expect(longerEnd - firstEnd).toBeGreaterThanOrEqual(300_000);
      expect(end).toBeLessThan(firstEnd);
      await all.expectEnded(shorter, { status: 'COMPLETED', reason: 'LeaseEnded' });
      expect(Date.now()).toBeGreaterThan(end);
      expect(await deviceState(pod)).toEqual(before);
      await all.expectFree(node);
    });

  if (isMine(1))
    test('preemption of its slave', async () => {
      const mounted = await all.mountedTarget(node);
      const name = `ends-first-${node}`;
      const classes = '/apis/scheduling.k8s.io/v1/priorityclasses';
      await remove(`${classes}/${name}`);
      await ask('POST', classes, { metadata: { name }, value: 1000 });
      // The admission of kube-apiserver hears of a class a moment later.
      const dryRun = { metadata: { name }, spec: { priorityClassName: name, containers: [busybox(['true'])] } };
      const isKnown = async (): Promise<boolean> => (await send('POST', `${PODS}?dryRun=All`, dryRun)).status < 300;
      await until('the class to be known', isKnown);
      const first = await all.target(node, {
        // The scheduler is to decide, not the pod.
        nodeName: undefined,
        nodeSelector: { 'kubernetes.io/hostname': node },
        priorityClassName: name,
        containers: [busybox(['sleep', '100000'], { resources: { limits: { [FUSE]: '1' } } })],
      });
      expect(await canOpen(first, '/dev/fuse')).toBe(true);
      await all.expectEnded(mounted.mounted, SLAVE_ENDED);
      expect(await deviceState(mounted.pod)).toEqual(mounted.before);
      await deletePod(first);
      await remove(`${classes}/${name}`);
      await all.expectFree(node);
    });
});

describe('when its container restarts, a mount', () => {
  test('is made in the new one with onRestart=reapply', async () => {
    const { pod, mounted, before } = await all.mountedTarget(node, {}, { onRestart: 'reapply' });
    const inFirst = await deviceState(pod);
    await restartContainer(pod);
    await until('the device in the new container', async () => (await inPod(pod, 'exec 3</dev/fuse')).code === 0);
    expect(await deviceState(pod)).toEqual(inFirst);
    const { name } = mounted.metadata;
    await until('the mount to tell of it', async () =>
      /restarted/.test((await deviceMount(name))?.status.message ?? ''),
    );
    expect((await all.temporal.workflowOf(name))?.status).toBe('RUNNING');
    expect((await unmount(pod)).status).toBe(200);
    await all.expectEnded(mounted, UNMOUNTED);
    expect(await deviceState(pod)).toEqual(before);
    await all.expectFree(node);
  });

  if (isMine(2))
    test('ends with onRestart=release', async () => {
      const { pod, mounted, before } = await all.mountedTarget(node, {}, { onRestart: 'release' });
      await restartContainer(pod);
      await all.expectEnded(mounted, { status: 'COMPLETED', reason: 'ContainerRestarted' });
      expect(await deviceState(pod)).toEqual(before);
      await all.expectFree(node);
    });
});
