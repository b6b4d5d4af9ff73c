import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { WorkflowFailedError } from '@temporalio/client';
import { Worker } from '@temporalio/worker';
import { ANNOTATIONS } from '../../contract/names.ts';
import { MOUNT_MEMO, SIGNALS } from '../../contract/workflows.ts';
import { FUSE, forged, Harness, mountRequest, NAMESPACE, signed, unmountRequest } from './harness.ts';
import { eventually, failureFrom } from './outcome.ts';

jest.setTimeout(60_000);

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
}, 120_000);
afterAll(() => harness.stop());

/** What there is of a mount on its node and in the cluster: nothing, after an undo. */
function leftOf(pod: string, node: { readonly attached: ReadonlyMap<string, unknown> }): readonly string[] {
  const slaves = harness.cluster.slaves(NAMESPACE).filter(({ spec }) => JSON.stringify(spec).includes(`"${pod}"`));
  return [...slaves.map(({ metadata }) => `slave ${metadata?.name}`), ...node.attached.keys()];
}

async function statusOf(name: string): Promise<string> {
  return (await harness.handle(name).describe()).status.name;
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
    expect([status.name, memo?.[MOUNT_MEMO]]).toEqual(['RUNNING', mount]);
    await eventually(() => harness.eventsOf('happy').length === 1);
    const annotations = (await harness.cluster.getPod({ namespace: NAMESPACE, name: 'happy' }))?.metadata?.annotations;
    expect(JSON.parse(annotations?.[ANNOTATIONS.devices] ?? '')).toEqual([
      { mount: 'happy-m', container: 'main', type: 'HOSTDEV', resource: FUSE, id: '/dev/fuse', nodes: ['/dev/fuse'] },
    ]);

    const { items } = await harness.unmount(signed(unmountRequest('happy')));
    expect(items.map(({ metadata, status }) => [metadata.name, status.phase])).toEqual([['happy-m', 'Releasing']]);
    expect(node.attached.size).toBe(0);
    expect(await harness.handle('happy-m').result()).toMatchObject({
      status: { phase: 'Released', reason: 'Unmounted' },
    });
    expect(leftOf('happy', node)).toEqual([]);
    expect(harness.eventsOf('happy')).toEqual(['MountDevice', 'UnMountDevice']);
    const after = (await harness.cluster.getPod({ namespace: NAMESPACE, name: 'happy' }))?.metadata?.annotations;
    expect(after).toEqual({});
  });

  test('fails with the words of the scheduler when no device is free', async () => {
    const node = await harness.addNode('full', 0);
    expect(await failureFrom(harness.mount(signed(mountRequest('full'))))).toMatchObject({
      type: 'InsufficientDevices',
      message: expect.stringContaining(`0/1 nodes are available: 1 Insufficient ${FUSE}.`),
    });
    expect(leftOf('full', node)).toEqual([]);
  });

  test('deletes the slave when the node refuses', async () => {
    const node = await harness.addNode('refuser', 1);
    node.refuse = 'ContainerUnsupported';
    expect(await failureFrom(harness.mount(signed(mountRequest('refuser'))))).toMatchObject({
      type: 'ContainerUnsupported',
    });
    expect(leftOf('refuser', node)).toEqual([]);
    await eventually(async () => (await statusOf('refuser-m')) === 'FAILED');
    expect(await harness.handle('refuser-m').describe()).toMatchObject({
      memo: { [MOUNT_MEMO]: { status: { phase: 'Failed', reason: 'ContainerUnsupported', slaves: [] } } },
    });
    await eventually(() => harness.eventsOf('refuser').includes('MountDeviceFailed'));
  });

  test('is undone by Cancel while it waits in the queue', async () => {
    const node = await harness.addNode('waiting', 0);
    const mounting = failureFrom(harness.mount(signed(mountRequest('waiting', { queue: true }))));
    await eventually(() => leftOf('waiting', node).length === 1);
    await eventually(async () =>
      JSON.stringify((await harness.handle('waiting-m').describe()).memo).includes('Insufficient'),
    );
    await harness.handle('waiting-m').cancel();
    expect(await mounting).toMatchObject({ type: 'Canceled' });
    expect(leftOf('waiting', node)).toEqual([]);
    await eventually(async () => (await statusOf('waiting-m')) === 'CANCELLED');
  });

  test('is mounted from the queue the moment that a device is free', async () => {
    const node = await harness.addNode('queue', 0);
    const mounting = harness.mount(signed(mountRequest('queue', { queue: true })));
    await eventually(() => leftOf('queue', node).length === 1);
    harness.cluster.addDevices('queue', FUSE, 1);
    expect((await mounting).status.phase).toBe('Mounted');
  });

  test('gives everything back by Cancel while it is mounted', async () => {
    const node = await harness.addNode('cancel', 1);
    await harness.mount(signed(mountRequest('cancel')));
    node.busy = true;
    await harness.handle('cancel-m').cancel();
    await expect(harness.handle('cancel-m').result()).rejects.toBeInstanceOf(WorkflowFailedError);
    const { status, memo } = await harness.handle('cancel-m').describe();
    expect([status.name, memo]).toMatchObject(['CANCELLED', { [MOUNT_MEMO]: { status: { phase: 'Released' } } }]);
    expect(leftOf('cancel', node)).toEqual([]);
  });

  test('is undone when the target is deleted while it is being mounted', async () => {
    const node = await harness.addNode('dying', 1);
    const { promise, resolve } = Promise.withResolvers<void>();
    node.slow = promise;
    const mounting = failureFrom(harness.mount(signed(mountRequest('dying'))));
    await eventually(() => node.attached.size === 1);
    harness.cluster.removePod({ namespace: NAMESPACE, name: 'dying' });
    expect((await mounting).type).toMatch(/^(TargetGone|SlaveEnded)$/);
    resolve();
    expect(leftOf('dying', node)).toEqual([]);
  });

  test('fails with NodeUnreachable when the Lease of the node worker has lapsed before', async () => {
    const node = await harness.addNode('lapsed', 1, false);
    harness.cluster.lapse('lapsed');
    expect(await failureFrom(harness.mount(signed(mountRequest('lapsed'))))).toMatchObject({ type: 'NodeUnreachable' });
    expect(leftOf('lapsed', node)).toEqual([]);
  });

  test('fails with NodeUnreachable and deletes the slave when the node worker goes away in the middle', async () => {
    const node = await harness.addNode('absent', 1, false);
    const mounting = failureFrom(harness.mount(signed(mountRequest('absent'))));
    await eventually(() => leftOf('absent', node).length === 1);
    harness.cluster.lapse('absent');
    expect(await mounting).toMatchObject({ type: 'NodeUnreachable' });
    expect(leftOf('absent', node)).toEqual([]);
  });

  test('waits for a node worker that is alive but late', async () => {
    const node = await harness.addNode('late', 1, false);
    const mounting = harness.mount(signed(mountRequest('late')));
    const attaching = async (): Promise<number> =>
      ((await harness.handle('late-m').fetchHistory()).events ?? []).filter(
        ({ activityTaskScheduledEventAttributes: scheduled }) => scheduled?.activityType?.name === 'attachDevices',
      ).length;
    await eventually(() => leftOf('late', node).length === 1);
    await eventually(async () => (await attaching()) === 2);
    await harness.startNode('late');
    expect((await mounting).status.phase).toBe('Mounted');
  });

  test('is undone at its deadline, and says so', async () => {
    const node = await harness.addNode('slow', 1);
    node.slow = new Promise(() => undefined);
    const request = mountRequest('slow', { deadlineSeconds: 1 });
    expect(await failureFrom(harness.mount(signed(request)))).toMatchObject({
      type: 'Timeout',
      causes: ['RolledBack'],
    });
    expect(leftOf('slow', node)).toEqual([]);
  });

  test('answers RollingBack when the undo takes longer than the caller waits', async () => {
    const node = await harness.addNode('stuck', 1);
    const { promise, resolve } = Promise.withResolvers<void>();
    node.slow = new Promise(() => undefined);
    node.stuck = promise;
    const request = mountRequest('stuck', { deadlineSeconds: 1 });
    expect(await failureFrom(harness.mount(signed(request)))).toMatchObject({
      type: 'Timeout',
      causes: ['RollingBack'],
    });
    // The device is still attached: its slave keeps it from others.
    expect(leftOf('stuck', node)).toHaveLength(2);
    resolve();
    await eventually(async () => (await statusOf('stuck-m')) === 'FAILED');
    expect(leftOf('stuck', node)).toEqual([]);
  });

  test('keeps the slave of an attach that had begun until the node worker is back', async () => {
    const node = await harness.addNode('away', 1);
    node.slow = new Promise(() => undefined);
    const mounting = failureFrom(harness.mount(signed(mountRequest('away'))));
    await eventually(() => node.attached.size === 1);
    await harness.stopNode('away');
    expect(await mounting).toMatchObject({ type: 'NodeUnreachable', causes: ['RollingBack'] });
    expect(leftOf('away', node)).toHaveLength(2);
    await harness.startNode('away');
    await eventually(async () => (await statusOf('away-m')) === 'FAILED');
    expect(leftOf('away', node)).toEqual([]);
  });

  test('gives up on a node that is no longer in the cluster', async () => {
    const node = await harness.addNode('removed', 1);
    node.slow = new Promise(() => undefined);
    const mounting = failureFrom(harness.mount(signed(mountRequest('removed'))));
    await eventually(() => node.attached.size === 1);
    await harness.stopNode('removed');
    harness.cluster.nodes.delete('removed');
    expect(await mounting).toMatchObject({ type: 'NodeUnreachable' });
    await eventually(async () => (await statusOf('removed-m')) === 'FAILED');
    expect(harness.cluster.slaves(NAMESPACE).filter(({ spec }) => spec?.nodeName === 'removed')).toEqual([]);
  });

  test('answers the one mount when it is asked for twice', async () => {
    await harness.addNode('twice', 2);
    const request = signed(mountRequest('twice'));
    const [first, second] = await Promise.all([harness.mount(request), harness.mount(request)]);
    expect(second).toEqual(first);
    expect(harness.cluster.slaves(NAMESPACE).filter(({ spec }) => spec?.nodeName === 'twice')).toHaveLength(1);
  });

  test.each([
    ['signed by someone else', 'forged-a', (pod: string) => forged(mountRequest(pod))],
    ['altered', 'forged-b', (pod: string) => ({ ...signed(mountRequest('happy')), request: mountRequest(pod) })],
  ])('makes nothing for a request that is %s', async (_name, pod, make) => {
    const node = await harness.addNode(pod, 1);
    expect(await failureFrom(harness.mount(make(pod)))).toMatchObject({ type: 'InvalidSignature' });
    expect(leftOf(pod, node)).toEqual([]);
    expect(node.begun).toBe(0);
  });

  test('makes nothing for a request that has ended', async () => {
    const node = await harness.addNode('replayed', 1);
    const request = mountRequest('replayed', { requestedAt: new Date(Date.now() - 60_000).toISOString() });
    expect(await failureFrom(harness.mount(signed(request)))).toMatchObject({ type: 'Timeout' });
    expect(leftOf('replayed', node)).toEqual([]);
  });

  test('ends with its lease, and later when that is renewed', async () => {
    const node = await harness.addNode('lease', 1);
    await harness.mount(signed(mountRequest('lease', { leaseSeconds: 600 })));
    await harness.handle('lease-m').signal(SIGNALS.renew, { leaseSeconds: 1 });
    expect(await harness.handle('lease-m').result()).toMatchObject({
      status: { phase: 'Released', reason: 'LeaseEnded' },
    });
    expect(leftOf('lease', node)).toEqual([]);
  });

  test('fails with SlaveEnded, and takes the devices back, when the slave is deleted', async () => {
    const node = await harness.addNode('evicted', 1);
    const { status } = await harness.mount(signed(mountRequest('evicted')));
    harness.cluster.removePod(status.slaves[0]!);
    expect(await failureFrom(harness.handle('evicted-m').result())).toMatchObject({ type: 'SlaveEnded' });
    expect(leftOf('evicted', node)).toEqual([]);
  });
});

describe('unmountDevices()', () => {
  test('fails when nothing is mounted', async () => {
    await harness.addNode('empty', 1);
    expect(await failureFrom(harness.unmount(signed(unmountRequest('empty'))))).toMatchObject({
      type: 'NothingMounted',
    });
  });

  test('leaves everything mounted when a device is in use, and names the processes', async () => {
    const node = await harness.addNode('busy', 2);
    await harness.mount(signed(mountRequest('busy', { name: 'busy-1' })));
    await harness.mount(signed(mountRequest('busy', { name: 'busy-2' })));
    node.busy = true;
    const refused = await failureFrom(harness.unmount(signed(unmountRequest('busy'))));
    expect(refused).toMatchObject({ type: 'DeviceBusy', causes: ['Process'] });
    expect(node.attached.size).toBe(2);
    const { items } = await harness.unmount(signed(unmountRequest('busy', { force: true })));
    expect(items).toHaveLength(2);
    expect(node.attached.size).toBe(0);
  });

  test('releases a mount that waits in the queue', async () => {
    const node = await harness.addNode('unqueue', 0);
    const mounting = failureFrom(harness.mount(signed(mountRequest('unqueue', { queue: true }))));
    await eventually(() => leftOf('unqueue', node).length === 1);
    await eventually(async () =>
      JSON.stringify((await harness.handle('unqueue-m').describe()).memo).includes('Insufficient'),
    );
    await harness.unmount(signed(unmountRequest('unqueue')));
    expect(await mounting).toMatchObject({ type: 'Canceled' });
    expect(leftOf('unqueue', node)).toEqual([]);
  });

  test('takes nothing away for a request that is signed by someone else', async () => {
    const node = await harness.addNode('forged-c', 1);
    await harness.mount(signed(mountRequest('forged-c')));
    expect(await failureFrom(harness.unmount(forged(unmountRequest('forged-c'))))).toMatchObject({
      type: 'InvalidSignature',
    });
    expect(node.attached.size).toBe(1);
  });
});

describe('histories', () => {
  test('of every workflow of this file replay', async () => {
    const histories = harness.client.workflow.list().intoHistories();
    const failed: string[] = [];
    let count = 0;
    for await (const { workflowId, error } of Worker.runReplayHistories(
      { workflowBundle: { code: harness.bundle } },
      histories,
    )) {
      count++;
      if (error !== undefined) failed.push(`${workflowId}: ${error.message}`);
    }
    expect(failed).toEqual([]);
    expect(count).toBeGreaterThan(20);
  });
});
