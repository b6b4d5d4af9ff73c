import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ClusterError } from '../../activities/cluster.ts';
import type { DeviceMount } from '../../contract/device-mount.ts';
import { MOUNT_MEMO } from '../../contract/workflows.ts';
import { Harness } from './harness.ts';
import { eventually, failureFrom } from './outcome.ts';
import { FUSE, forged, longAgo, mountRequest, NAMESPACE, signed } from './requests.ts';

/** Enough for the steps before the attach, on a busy machine, too. */
const SHORT_SECONDS = 5;

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterAll(() => harness.stop());

/** The failure of a mount, once all is undone: a caller does not wait for that longer than `ANSWER_MS`. */
async function undone(
  pod: string,
  request = signed(mountRequest(pod)),
): Promise<Awaited<ReturnType<typeof failureFrom>>> {
  const failure = await failureFrom(harness.mount(request));
  await harness.closed(request.request.name);
  return failure;
}

describe('mountDevices()', () => {
  test('fails with the words of the scheduler when no device is free', async () => {
    const node = await harness.addNode('full', 0);
    expect(await undone('full')).toMatchObject({
      type: 'InsufficientDevices',
      message: expect.stringContaining(`0/1 nodes are available: 1 Insufficient ${FUSE}.`),
    });
    expect(harness.leftOf('full', node)).toEqual([]);
  });

  test('is made after all by a reset within its deadline, when a device is free', async () => {
    const node = await harness.addNode('second', 0);
    const request = signed(mountRequest('second'));
    expect(await undone('second', request)).toMatchObject({ type: 'InsufficientDevices' });
    harness.cluster.addDevices('second', FUSE, 1);
    await harness.reset('second-m');
    expect((await harness.mount(request)).status.phase).toBe('Mounted');
    expect(harness.leftOf('second', node)).toHaveLength(2);
  });

  test('deletes the slave when the node refuses', async () => {
    const node = await harness.addNode('refuser', 1);
    node.refuse = 'ContainerUnsupported';
    expect(await undone('refuser')).toMatchObject({
      type: 'ContainerUnsupported',
    });
    expect(harness.leftOf('refuser', node)).toEqual([]);
    expect(await harness.handle('refuser-m').describe()).toMatchObject({
      memo: { [MOUNT_MEMO]: { status: { phase: 'Failed', reason: 'ContainerUnsupported', slaves: [] } } },
    });
    await eventually(() => harness.eventsOf('refuser').includes('MountDeviceFailed'));
  });

  test('fails with the words of whoever refused the slave, and leaves nothing', async () => {
    const node = await harness.addNode('quota', 1);
    harness.cluster.refuse = new ClusterError(403, 'Forbidden', 'exceeded quota: devices');
    const refused = await undone('quota');
    harness.cluster.refuse = undefined;
    expect(refused).toMatchObject({
      type: 'SlaveRefused',
      message: expect.stringContaining('exceeded quota: devices'),
    });
    expect(harness.leftOf('quota', node)).toEqual([]);
    expect((await harness.mount(signed(mountRequest('quota', { name: 'quota-2' })))).status.phase).toBe('Mounted');
  });

  test.each([
    ['claim', { resourceClaimName: 'absent' }, 'ResourceClaim "absent"'],
    ['template', { resourceClaimTemplateName: 'absent' }, 'ResourceClaimTemplate "absent"'],
  ])('makes nothing for a %s that is not there', async (pod, claim, missing) => {
    const node = await harness.addNode(pod, 1);
    harness.cluster.claims.add('kept');
    const claims = [
      { name: 'first', resourceClaimName: 'kept' },
      { name: 'second', ...claim },
    ];
    const failed = await undone(pod, signed(mountRequest(pod, { claims, queue: true })));
    expect(failed).toMatchObject({
      type: 'NotFound',
      message: `Cannot mount "${pod}-m": namespace "${NAMESPACE}" has no ${missing}`,
    });
    expect(harness.leftOf(pod, node)).toEqual([]);
    const there = mountRequest(pod, { name: `${pod}-2`, claims: claims.slice(0, 1) });
    expect((await harness.mount(signed(there))).status.phase).toBe('Mounted');
  });

  test('is made though kube-apiserver has just started, and does not know our role yet', async () => {
    const node = await harness.addNode('early', 1);
    const message = 'pods is forbidden: RBAC: clusterrole.rbac.authorization.k8s.io "device-mounter:control" not found';
    harness.cluster.refuse = new ClusterError(403, 'Forbidden', message);
    const mounting = harness.mount(signed(mountRequest('early')));
    await eventually(async () => {
      // Until it has started there is none of that name.
      const { raw } = await harness
        .handle('early-m')
        .describe()
        .catch(() => ({ raw: undefined }));
      return raw?.pendingActivities?.some(({ attempt }) => (attempt ?? 0) > 2);
    });
    harness.cluster.refuse = undefined;
    expect((await mounting).status.phase).toBe('Mounted');
    expect(harness.leftOf('early', node)).toHaveLength(2);
  });

  test('says so when kube-apiserver gives no clear answer', async () => {
    const node = await harness.addNode('unwell', 1);
    harness.cluster.unwell = new ClusterError(500, 'InternalError', 'etcd is not well');
    const failed = await failureFrom(harness.mount(signed(mountRequest('unwell'))));
    harness.cluster.unwell = undefined;
    await harness.closed('unwell-m');
    expect(failed).toMatchObject({
      type: 'KubernetesUnavailable',
      message: 'Cannot ask kube-apiserver: etcd is not well',
    });
    expect(harness.leftOf('unwell', node)).toEqual([]);
  });

  test('names what it has left when it cannot be undone, and the reconciler frees that', async () => {
    const node = await harness.addNode('half', 1);
    node.refuse = 'ContainerUnsupported';
    node.failing = 'ContainerUnsupported';
    const left = await undone('half');
    const mount = await harness.handle('half-m').query<DeviceMount>('deviceMount');
    const slave = mount.status.slaves[0]?.name;
    expect(left).toMatchObject({ type: 'RollbackIncomplete', message: expect.stringContaining(`${slave}`) });
    expect(mount.status).toMatchObject({ phase: 'Failed', reason: 'RollbackIncomplete' });
    // It keeps what may still be attached from others.
    expect(harness.leftOf('half', node)).toEqual([`slave ${slave}`]);
    node.failing = undefined;
    const freed = { mount: 'half-m', action: 'free', why: 'its workflow has closed', done: true };
    expect((await harness.reconcile()).findings).toContainEqual(expect.objectContaining(freed));
    expect(harness.leftOf('half', node)).toEqual([]);
  });

  test('is undone by Cancel while it waits in the queue', async () => {
    const node = await harness.addNode('waiting', 0);
    const mounting = undone('waiting', signed(mountRequest('waiting', { queue: true })));
    await eventually(() => harness.leftOf('waiting', node).length === 1);
    await eventually(async () =>
      JSON.stringify((await harness.handle('waiting-m').describe()).memo).includes('Insufficient'),
    );
    await harness.handle('waiting-m').cancel();
    expect(await mounting).toMatchObject({ type: 'Canceled' });
    expect(harness.leftOf('waiting', node)).toEqual([]);
    expect(await harness.statusOf('waiting-m')).toBe('CANCELLED');
  });

  test('is undone when the target is deleted while it is being mounted', async () => {
    const node = await harness.addNode('dying', 1);
    const { promise, resolve } = Promise.withResolvers<void>();
    node.slow = promise;
    const mounting = undone('dying');
    await eventually(() => node.attached.size === 1);
    harness.cluster.removePod({ namespace: NAMESPACE, name: 'dying' });
    expect((await mounting).type).toBe('TargetGone');
    resolve();
    expect(harness.leftOf('dying', node)).toEqual([]);
  });

  test('fails with NodeUnreachable when the Lease of the node worker has lapsed before', async () => {
    const node = await harness.addNode('lapsed', 1, false);
    harness.cluster.lapse('lapsed');
    expect(await undone('lapsed')).toMatchObject({ type: 'NodeUnreachable' });
    expect(harness.leftOf('lapsed', node)).toEqual([]);
  });

  test('fails with NodeUnreachable and deletes the slave when the node worker goes away in the middle', async () => {
    const node = await harness.addNode('absent', 1, false);
    const mounting = undone('absent');
    await eventually(() => harness.leftOf('absent', node).length === 1);
    harness.cluster.lapse('absent');
    expect(await mounting).toMatchObject({ type: 'NodeUnreachable' });
    expect(harness.leftOf('absent', node)).toEqual([]);
  });

  test('is undone at its deadline, and says so', async () => {
    const node = await harness.addNode('slow', 1);
    node.slow = new Promise(() => undefined);
    const causes: (readonly string[])[] = [];
    // Where the machine stands still for seconds the caller is told before the undo has ended.
    while (causes.at(-1)?.[0] !== 'RolledBack') {
      const name = `slow-${causes.length}`;
      const request = mountRequest('slow', { name, deadlineSeconds: SHORT_SECONDS });
      const failure = await failureFrom(harness.mount(signed(request)));
      expect(failure.type).toBe('Timeout');
      causes.push(failure.causes);
      await harness.closed(name);
      expect(harness.leftOf('slow', node)).toEqual([]);
    }
    expect(node.begun).toBeGreaterThan(0);
    expect(causes.slice(0, -1).every(([cause]) => cause === 'RollingBack')).toBe(true);
  });

  test('answers RollingBack when the undo takes longer than the caller waits', async () => {
    const node = await harness.addNode('stuck', 1);
    const { promise, resolve } = Promise.withResolvers<void>();
    node.slow = new Promise(() => undefined);
    node.stuck = promise;
    const mounting = failureFrom(harness.mount(signed(mountRequest('stuck'))));
    await eventually(() => node.begun === 1);
    await harness.handle('stuck-m').cancel();
    expect(await mounting).toMatchObject({ type: 'Canceled', causes: ['RollingBack'] });
    // The device is still attached: its slave keeps it from others.
    expect(harness.leftOf('stuck', node)).toHaveLength(2);
    resolve();
    await harness.closed('stuck-m');
    expect(harness.leftOf('stuck', node)).toEqual([]);
  });

  test('keeps the slave of an attach that had begun until the node worker is back', async () => {
    const node = await harness.addNode('away', 1);
    node.slow = new Promise(() => undefined);
    const mounting = failureFrom(harness.mount(signed(mountRequest('away'))));
    await eventually(() => node.attached.size === 1);
    await harness.stopNode('away');
    expect(await mounting).toMatchObject({ type: 'NodeUnreachable', causes: ['RollingBack'] });
    expect(harness.leftOf('away', node)).toHaveLength(2);
    await harness.startNode('away');
    await eventually(async () => (await harness.statusOf('away-m')) === 'FAILED');
    expect(harness.leftOf('away', node)).toEqual([]);
  });

  test('gives up on a node that is no longer in the cluster', async () => {
    const node = await harness.addNode('removed', 1);
    node.slow = new Promise(() => undefined);
    const mounting = undone('removed');
    await eventually(() => node.attached.size === 1);
    await harness.stopNode('removed');
    harness.cluster.nodes.delete('removed');
    expect(await mounting).toMatchObject({ type: 'NodeUnreachable' });
    expect(harness.cluster.slaves(NAMESPACE).filter(({ spec }) => spec?.nodeName === 'removed')).toEqual([]);
  });

  test.each([
    ['signed by someone else', 'forged-a', (pod: string) => forged(mountRequest(pod))],
    ['altered', 'forged-b', (pod: string) => ({ ...signed(mountRequest('happy')), request: mountRequest(pod) })],
  ])('makes nothing for a request that is %s', async (_name, pod, make) => {
    const node = await harness.addNode(pod, 1);
    expect(await undone(pod, make(pod))).toMatchObject({ type: 'InvalidSignature' });
    expect(harness.leftOf(pod, node)).toEqual([]);
    expect(node.begun).toBe(0);
  });

  test('makes nothing for a request that has ended', async () => {
    const node = await harness.addNode('replayed', 1);
    const request = mountRequest('replayed', { requestedAt: longAgo() });
    expect(await undone('replayed', signed(request))).toMatchObject({ type: 'Timeout' });
    expect(harness.leftOf('replayed', node)).toEqual([]);
  });
});

describe('every history of this file', () => {
  test('replays', async () => {
    expect(await harness.replayed()).toEqual([]);
  });
});
