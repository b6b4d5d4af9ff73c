import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { DeviceMount } from '../../contract/device-mount.ts';
import { containerIdOf, containerPid, deviceState } from './device-state.ts';
import { type Closing, Ends, type Mounted } from './ended.ts';
import { kubectlOk } from './kubectl.ts';
import { nodeAt } from './nodes.ts';
import { busybox, deletePod, deviceMount, evictPod, FUSE, inPod, mountOk, TUN, unmount } from './pods.ts';
import { temporalCli } from './temporal.ts';
import { until } from './until.ts';

const all = new Ends();
beforeAll(() => all.start());
afterAll(() => all.stop());
afterEach(() => all.deletePods());

const slaveOf = ({ status }: DeviceMount): string => status.slaves[0]?.name ?? '';

async function restart(pod: string): Promise<void> {
  const id = await containerIdOf(pod);
  process.kill(await containerPid(pod), 'SIGKILL');
  await until(`a new container of ${pod}`, async () => (await containerIdOf(pod)) !== id);
  await kubectlOk(['wait', '--for=condition=Ready', `pod/${pod}`, '--timeout=60s']);
}

describe('the mount ends, and its container is as before, after', () => {
  test.each<[string, number, (mounted: Mounted) => Promise<unknown>, Closing]>([
    ['unmount', 0, ({ pod }) => unmount(pod), { status: 'COMPLETED', reason: 'Unmounted' }],
    [
      'unmount of its name',
      1,
      ({ pod, mounted }) => unmount(pod, `&mount=${mounted.metadata.name}`),
      { status: 'COMPLETED', reason: 'Unmounted' },
    ],
    [
      'Cancel in Temporal',
      2,
      ({ mounted }) => temporalCli('workflow', 'cancel', '--workflow-id', `mount/default/${mounted.metadata.name}`),
      { status: 'CANCELLED', reason: 'Canceled' },
    ],
    [
      'Cancel in Temporal while a process uses the device',
      0,
      async ({ pod, mounted }) => {
        await inPod(pod, 'sleep 1000 3<>/dev/fuse >/dev/null 2>&1 &');
        await temporalCli('workflow', 'cancel', '--workflow-id', `mount/default/${mounted.metadata.name}`);
      },
      { status: 'CANCELLED', reason: 'Canceled' },
    ],
    [
      'delete of its slave',
      1,
      ({ mounted }) => kubectlOk(['delete', 'pod', slaveOf(mounted), '--wait=false']),
      { status: 'FAILED', reason: 'SlaveEnded' },
    ],
    [
      'forced delete of its slave',
      2,
      ({ mounted }) => kubectlOk(['delete', 'pod', slaveOf(mounted), '--force', '--grace-period=0']),
      { status: 'FAILED', reason: 'SlaveEnded' },
    ],
    [
      'eviction of its slave',
      0,
      ({ mounted }) => evictPod(slaveOf(mounted)),
      { status: 'FAILED', reason: 'SlaveEnded' },
    ],
  ])('%s', async (_name, index, end, closing) => {
    const node = nodeAt(index).name;
    const mounted = await all.mountedTarget(node);
    await end(mounted);
    await all.expectEnded(mounted.mounted, closing);
    expect(await deviceState(mounted.pod)).toEqual(mounted.before);
    await all.expectFree(node);
  });

  test('unmount of one of two mounts, and then of all', async () => {
    const node = nodeAt(1).name;
    const pod = await all.target(node);
    const before = await deviceState(pod);
    const first = await mountOk(pod, TUN);
    const one = await deviceState(pod);
    const second = await mountOk(pod, FUSE);
    expect((await unmount(pod, `&mount=${second.metadata.name}`)).code).toBe(0);
    expect((await all.temporal.closed(second.metadata.name)).status).toBe('COMPLETED');
    expect(await deviceState(pod)).toEqual(one);
    expect((await all.temporal.workflowOf(first.metadata.name))?.status).toBe('RUNNING');
    const third = await mountOk(pod, FUSE);
    expect((await unmount(pod)).code).toBe(0);
    expect(await deviceState(pod)).toEqual(before);
    // Slaves are the pod's, so both have to end first.
    for (const { metadata } of [first, third]) await all.temporal.closed(metadata.name);
    await all.expectEnded(first, { status: 'COMPLETED', reason: 'Unmounted' });
    await all.expectEnded(third, { status: 'COMPLETED', reason: 'Unmounted' });
    await all.expectFree(node);
  });

  test('its lease, which a PUT of the same name has renewed', async () => {
    const node = nodeAt(2).name;
    const pod = await all.target(node);
    const before = await deviceState(pod);
    const name = `lease-${pod}`;
    const first = await mountOk(pod, FUSE, '', { name, leaseSeconds: 3 });
    const renewed = await mountOk(pod, FUSE, '', { name, leaseSeconds: 7 });
    expect(renewed.metadata.uid).toBe(first.metadata.uid);
    const [firstEnd, end] = [first, renewed].map(({ status }) => Date.parse(status.leaseEndsAt ?? '')) as [
      number,
      number,
    ];
    expect(end - firstEnd).toBeGreaterThan(3_000);
    await all.expectEnded(renewed, { status: 'COMPLETED', reason: 'LeaseEnded' });
    expect(Date.now()).toBeGreaterThan(end);
    expect(await deviceState(pod)).toEqual(before);
    await all.expectFree(node);
  });

  test('preemption of its slave', async () => {
    const node = nodeAt(0).name;
    const mounted = await all.mountedTarget(node);
    const priority = {
      apiVersion: 'scheduling.k8s.io/v1',
      kind: 'PriorityClass',
      metadata: { name: 'ends-first' },
      value: 1000,
    };
    await kubectlOk(['apply', '-f', '-'], JSON.stringify(priority));
    const wanted = { limits: { [FUSE]: '1' } };
    const spec = {
      // The scheduler is to decide, not the pod.
      nodeName: undefined,
      nodeSelector: { 'kubernetes.io/hostname': node },
      priorityClassName: 'ends-first',
      containers: [busybox(['sleep', '100000'], { resources: wanted })],
    };
    const first = await all.target(node, spec);
    expect(await inPod(first, 'exec 3<>/dev/fuse && echo opened')).toMatchObject({ stdout: 'opened\n' });
    await all.expectEnded(mounted.mounted, { status: 'FAILED', reason: 'SlaveEnded' });
    expect(await deviceState(mounted.pod)).toEqual(mounted.before);
    await deletePod(first);
    await kubectlOk(['delete', 'priorityclass', 'ends-first']);
    await all.expectFree(node);
  });
});

describe('when its container restarts, a mount', () => {
  test.each([1, 0])('is made in the new one with onRestart=reapply (node %i)', async (index) => {
    const node = nodeAt(index).name;
    const { pod, mounted, before } = await all.mountedTarget(node, {}, { onRestart: 'reapply' });
    const inFirst = await deviceState(pod);
    await restart(pod);
    await until('the device in the new container', async () => (await inPod(pod, 'exec 3</dev/fuse')).code === 0);
    expect(await deviceState(pod)).toEqual(inFirst);
    const { name } = mounted.metadata;
    await until('the mount to tell of it', async () =>
      /restarted/.test((await deviceMount(name))?.status.message ?? ''),
    );
    expect((await all.temporal.workflowOf(name))?.status).toBe('RUNNING');
    expect((await unmount(pod)).code).toBe(0);
    await all.expectEnded(mounted, { status: 'COMPLETED', reason: 'Unmounted' });
    expect(await deviceState(pod)).toEqual(before);
    await all.expectFree(node);
  });

  test('ends with onRestart=release', async () => {
    const node = nodeAt(2).name;
    const { pod, mounted, before } = await all.mountedTarget(node, {}, { onRestart: 'release' });
    await restart(pod);
    await all.expectEnded(mounted, { status: 'COMPLETED', reason: 'ContainerRestarted' });
    expect(await deviceState(pod)).toEqual(before);
    await all.expectFree(node);
  });
});
