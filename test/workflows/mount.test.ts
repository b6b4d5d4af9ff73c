import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { WorkflowFailedError } from '@temporalio/client';
import { ClusterError } from '../../activities/cluster.ts';
import { mountNameOf } from '../../activities/slave-pod.ts';
import { ANNOTATIONS } from '../../contract/names.ts';
import { MOUNT_MEMO, SIGNALS } from '../../contract/workflows.ts';
import { Harness } from './harness.ts';
import { eventually, failureFrom } from './outcome.ts';
import { begin, waits } from './queue.ts';
import { DEADLINE_SECONDS, FUSE, mountRequest, NAMESPACE, signed, unmountRequest } from './requests.ts';

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterAll(() => harness.stop());

/**
 * What wakes the workflow: the steps that it asked Temporal for, in that order, and signals and timers. It has at most one task
 * for each; how many wakes share a task depends on how fast they come.
 */
async function wakesOf(name: string): Promise<readonly [steps: readonly string[], others: readonly string[]]> {
  const events = (await harness.handle(name).fetchHistory()).events ?? [];
  const steps = events.flatMap(({ activityTaskScheduledEventAttributes: step }) => step?.activityType?.name ?? []);
  const others = events.flatMap(
    ({ workflowExecutionSignaledEventAttributes: signal, timerFiredEventAttributes: timer }) =>
      signal?.signalName ?? (timer ? 'timer' : []),
  );
  return [steps, others];
}

describe('mountDevices()', () => {
  test('mounts, stays open, and gives everything back when it is unmounted', async () => {
    const node = await harness.addNode('happy', 1);
    const mount = await harness.mount(signed(mountRequest('happy')));
    expect(mount.status).toMatchObject({
      phase: 'Mounted',
      node: 'happy',
      user: 'jane',
      devices: [{ id: '/dev/fuse' }],
    });
    expect(mount.status.slaves).toHaveLength(1);

    const { status, memo } = await harness.handle('happy-m').describe();
    // The answer does not wait until its object shows this.
    const object = await harness.shows('happy-m');
    expect(object.metadata.uid).toBe(mount.metadata.uid);
    expect(Number(object.metadata.resourceVersion)).toBeGreaterThanOrEqual(Number(mount.metadata.resourceVersion));
    const record = await harness.recordOf('happy-m');
    expect([status.name, memo?.[MOUNT_MEMO]]).toEqual(['RUNNING', record]);
    expect({ ...mount, metadata: record.metadata }).toEqual(record);
    await eventually(() => harness.eventsOf('happy').length === 1);
    const annotations = (await harness.cluster.getPod({ namespace: NAMESPACE, name: 'happy' }))?.metadata?.annotations;
    expect(JSON.parse(annotations?.[ANNOTATIONS.devices] ?? '')).toEqual([
      {
        mount: 'happy-m',
        container: 'main',
        type: 'HOSTDEV',
        resource: FUSE,
        id: '/dev/fuse',
        slave: mount.status.slaves[0]?.name,
        nodes: ['/dev/fuse'],
      },
    ]);

    const { items } = await harness.unmount(signed(unmountRequest('happy')));
    expect(items.map(({ metadata, status }) => [metadata.name, status.phase])).toEqual([['happy-m', 'Released']]);
    expect(node.attached.size).toBe(0);
    expect(await harness.handle('happy-m').result()).toMatchObject({
      status: { phase: 'Released', reason: 'Unmounted' },
    });
    expect(harness.leftOf('happy', node)).toEqual([]);
    expect(harness.eventsOf('happy')).toEqual(['MountDevice', 'UnMountDevice']);
    const after = (await harness.cluster.getPod({ namespace: NAMESPACE, name: 'happy' }))?.metadata?.annotations;
    expect(after).toEqual({});
    const [steps, others] = await wakesOf('happy-m');
    expect(steps).toEqual(['attachDevices', 'projectMount', 'projectMount', 'deleteSlave', 'projectMount']);
    // The watch of the slaves may see that the slave ends while it is being deleted.
    expect(others.filter((name) => name !== 'slaveEnding')).toEqual(['released']);
  });

  test('tells what the container lacks to make use of the devices', async () => {
    const node = await harness.addNode('lacking', 1);
    node.warnings = [{ type: 'DriverFilesMissing', message: 'there is no libcuda.so.1' }];
    const { status } = await harness.mount(signed(mountRequest('lacking')));
    expect(status).toMatchObject({ phase: 'Mounted', warnings: node.warnings });
    const conditions = (await harness.shows('lacking-m')).status?.conditions;
    expect(conditions?.map(({ type, status }) => [type, status])).toContainEqual(['DriverFilesMissing', 'True']);
  });

  test('is mounted from the queue the moment that a device is free', async () => {
    const node = await harness.addNode('queue', 0);
    const mounting = harness.mount(signed(mountRequest('queue', { queue: true })));
    await eventually(() => harness.leftOf('queue', node).length === 1);
    harness.cluster.addDevices('queue', FUSE, 1);
    expect((await mounting).status.phase).toBe('Mounted');
  });

  test('gets a device that another gives back just now, without a queue', async () => {
    const node = await harness.addNode('moved', 1);
    await harness.mount(signed(mountRequest('moved')));
    harness.cluster.endSlowly = true;
    await harness.unmount(signed(unmountRequest('moved')));
    // That is a moment after the answer. Who comes before it is told that there is no device, when the moment is long.
    await eventually(() => harness.cluster.slaves(NAMESPACE).some(({ metadata }) => metadata?.deletionTimestamp));
    const mounting = harness.mount(signed(mountRequest('moved', { name: 'moved-next' })));
    await eventually(() => harness.cluster.slaves(NAMESPACE).some((slave) => mountNameOf(slave) === 'moved-next'));
    // When this one is told that there is no device, the other would have been.
    await begin(harness, signed(mountRequest('moved', { name: 'moved-queued', queue: true })));
    await waits(harness, 'moved-queued');
    harness.cluster.finishEnding();
    expect((await mounting).status.phase).toBe('Mounted');
    await harness.handle('moved-queued').cancel();
    await eventually(async () => (await harness.statusOf('moved-queued')) === 'CANCELLED');
    expect(harness.leftOf('moved', node)).toHaveLength(2);
  });

  test('gives everything back by Cancel while it is mounted', async () => {
    const node = await harness.addNode('cancel', 1);
    await harness.mount(signed(mountRequest('cancel')));
    node.busy = true;
    await harness.handle('cancel-m').cancel();
    await expect(harness.handle('cancel-m').result()).rejects.toBeInstanceOf(WorkflowFailedError);
    const { status, memo } = await harness.handle('cancel-m').describe();
    expect([status.name, memo]).toMatchObject(['CANCELLED', { [MOUNT_MEMO]: { status: { phase: 'Released' } } }]);
    expect(harness.leftOf('cancel', node)).toEqual([]);
  });

  test('waits for a node worker that is alive but late', async () => {
    const node = await harness.addNode('late', 1, false);
    const mounting = harness.mount(signed(mountRequest('late')));
    const attaching = async (): Promise<number> =>
      ((await harness.handle('late-m').fetchHistory()).events ?? []).filter(
        ({ activityTaskScheduledEventAttributes: scheduled }) => scheduled?.activityType?.name === 'attachDevices',
      ).length;
    await eventually(() => harness.leftOf('late', node).length === 1);
    await eventually(async () => (await attaching()) >= 2);
    await harness.startNode('late');
    expect((await mounting).status.phase).toBe('Mounted');
  });

  test('answers the one mount when it is asked for twice', async () => {
    const node = await harness.addNode('twice', 2);
    const { promise, resolve } = Promise.withResolvers<void>();
    node.slow = promise;
    const request = signed(mountRequest('twice'));
    const asking = Promise.all([harness.mount(request), harness.mount(request)]);
    // Whoever asks later may be answered with another version of its object.
    await eventually(async () => (await harness.updatesOf('twice-m').catch(() => 0)) === 2);
    resolve();
    const [first, second] = await asking;
    expect(second).toEqual(first);
    expect(harness.cluster.slaves(NAMESPACE).filter(({ spec }) => spec?.nodeName === 'twice')).toHaveLength(1);
  });

  test.each([
    ['behind', 'early', -50_000],
    ['ahead', 'late-clock', 50_000],
  ])('is made and unmounted when the clock of the apiserver is %s', async (_name, pod, aheadMs) => {
    const node = await harness.addNode(pod, 1);
    const requestedAt = new Date(Date.now() + aheadMs).toISOString();
    expect((await harness.mount(signed(mountRequest(pod, { requestedAt })))).status.phase).toBe('Mounted');
    // Nearly all of its time, by Temporal's clock.
    const { events } = await harness.handle(`${pod}-m`).fetchHistory();
    const timer = events?.find((event) => event.timerStartedEventAttributes)?.timerStartedEventAttributes;
    const seconds = Number(timer?.startToFireTimeout?.seconds);
    expect(seconds).toBeGreaterThan(DEADLINE_SECONDS - 30);
    expect(seconds).toBeLessThanOrEqual(DEADLINE_SECONDS);
    await harness.unmount(signed(unmountRequest(pod, { requestedAt })));
    await harness.handle(`${pod}-m`).result();
    expect(harness.leftOf(pod, node)).toEqual([]);
  });

  test('is given back by Cancel at once, also while its target cannot be told of it', async () => {
    const node = await harness.addNode('untold', 1);
    const telling = harness.gates.stop(harness.handle('untold-m').workflowId, {
      activity: 'projectMount',
      when: 'before',
    });
    await harness.mount(signed(mountRequest('untold')));
    await telling;
    await harness.handle('untold-m').cancel();
    await eventually(() => harness.leftOf('untold', node).length === 0);
    expect(harness.eventsOf('untold')).toEqual([]);
    harness.gates.open();
    await eventually(async () => (await harness.statusOf('untold-m')) === 'CANCELLED');
    expect(harness.eventsOf('untold')).toEqual(['MountDevice', 'UnMountDevice']);
    const pod = await harness.cluster.getPod({ namespace: NAMESPACE, name: 'untold' });
    expect(pod?.metadata?.annotations?.[ANNOTATIONS.devices]).toBeUndefined();
  });

  test('ends with its lease, and later when that is renewed', async () => {
    const node = await harness.addNode('lease', 1);
    await harness.mount(signed(mountRequest('lease', { leaseSeconds: 600 })));
    await harness.handle('lease-m').signal(SIGNALS.renew, { leaseSeconds: 1 });
    expect(await harness.handle('lease-m').result()).toMatchObject({
      status: { phase: 'Released', reason: 'LeaseEnded' },
    });
    expect(harness.leftOf('lease', node)).toEqual([]);
  });

  test('fails with SlaveEnded, and takes the devices back, when the slave is deleted', async () => {
    const node = await harness.addNode('evicted', 1);
    const { status } = await harness.mount(signed(mountRequest('evicted')));
    harness.cluster.removePod(status.slaves[0]!);
    expect(await failureFrom(harness.handle('evicted-m').result())).toMatchObject({ type: 'SlaveEnded' });
    expect(harness.leftOf('evicted', node)).toEqual([]);
  });
});

describe('a mount that does not know its slave yet', () => {
  test('hears that it has ended, also when it queues', async () => {
    const node = await harness.addNode('gone-early', 0);
    const { workflowId } = harness.handle('gone-early-m');
    const reserved = harness.gates.stop(workflowId, { activity: 'reserveDevices', when: 'after' });
    const request = signed(mountRequest('gone-early', { queue: true }));
    // The first try would hold back what is signalled.
    harness.cluster.refuse = new ClusterError(429, 'TooManyRequests', 'try again later');
    const mounting = failureFrom(harness.mount(request));
    await eventually(async () => (await harness.pendingSteps('gone-early-m').catch(() => [])).length > 0);
    harness.cluster.refuse = undefined;
    await reserved;
    const slave = harness.cluster.slaves(NAMESPACE).find((pod) => mountNameOf(pod) === 'gone-early-m');
    const { name = '', uid } = slave?.metadata ?? {};
    harness.cluster.removePod({ namespace: NAMESPACE, name });
    // As the watch of the slaves does, of which nobody could tell when it has done so.
    await harness.handle('gone-early-m').signal(SIGNALS.slaveEnding, uid, 'it was deleted');
    harness.gates.open();
    expect(await mounting).toMatchObject({ type: 'SlaveEnded' });
    await harness.closed('gone-early-m');
    expect(harness.leftOf('gone-early', node)).toEqual([]);
  });
});

describe('every history of this file', () => {
  test('replays', async () => {
    expect(await harness.replayed()).toEqual([]);
  });
});
