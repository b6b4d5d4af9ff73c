import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { publishFailedUnmount } from '../../activities/publish.ts';
import { ANNOTATIONS, unmountWorkflowId } from '../../contract/names.ts';
import { Harness } from './harness.ts';
import { eventually, failureFrom } from './outcome.ts';
import { CLUSTER, FUSE, forged, mountRequest, NAMESPACE, signed, unmountRequest } from './requests.ts';

const TUN = 'hostdev.k8s.io/dev_net_tun';

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterAll(() => harness.stop());

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
    await eventually(() => harness.eventsOf('busy').includes('UnMountDeviceFailed'));
    for (const mount of ['busy-1', 'busy-2']) {
      await eventually(() => harness.eventsOf(mount).includes('UnMountDeviceFailed'));
    }
    const { items } = await harness.unmount(signed(unmountRequest('busy', { force: true })));
    const message = 'Ended processes that used the devices: pid 7 (sleep)';
    expect(items.map(({ status }) => [status.phase, status.message])).toEqual([
      ['Released', message],
      ['Released', message],
    ]);
    expect(node.attached.size).toBe(0);
  });

  test('makes no Event for a caller who was answered, or for a request that was wrong', async () => {
    const node = await harness.addNode('told', 1);
    expect(await failureFrom(harness.unmount(signed(unmountRequest('told'))))).toMatchObject({
      type: 'NothingMounted',
    });
    await harness.mount(signed(mountRequest('told')));
    node.busy = true;
    const busy = harness.mounts().unmount(signed(unmountRequest('told')), 100_000);
    expect(await failureFrom(busy)).toMatchObject({ type: 'DeviceBusy' });
    const { request } = signed(unmountRequest('told'));
    await harness.mounts().unmount(signed(request), 0);
    await eventually(() => harness.eventsOf('told').includes('UnMountDeviceFailed'));
    const told = harness.cluster.events.filter(({ reason }) => reason === 'UnMountDeviceFailed');
    expect(told.filter(({ involvedObject }) => involvedObject.name === 'told')).toHaveLength(1);
  });

  test('tells of a failure once, however often that is tried', async () => {
    await harness.addNode('once', 1);
    await harness.mount(signed(mountRequest('once')));
    await eventually(() => harness.cluster.getMount({ namespace: NAMESPACE, name: 'once-m' }));
    const failed = { signed: signed(unmountRequest('once')), message: 'busy' };
    const deps = harness.dependencies();
    await publishFailedUnmount(deps, failed);
    await publishFailedUnmount(deps, failed);
    const count = (name: string) => harness.eventsOf(name).filter((reason) => reason === 'UnMountDeviceFailed').length;
    expect([count('once'), count('once-m')]).toEqual([1, 1]);
  });

  test('frees one device of a split mount, which goes on with the rest until the last one', async () => {
    const node = await harness.addNode('split', 1);
    harness.cluster.addDevices('split', TUN, 1);
    const resources = { [FUSE]: '1', [TUN]: '1' };
    const { status } = await harness.mount(signed(mountRequest('split', { resources, split: true })));
    expect(status.devices.map(({ id, slave }) => [id, slave])).toEqual(
      status.slaves.map(({ name }, index) => [['/dev/fuse', '/dev/tun'][index], name]),
    );
    const { items } = await harness.unmount(signed(unmountRequest('split', { device: '/dev/tun' })));
    expect(items).toMatchObject([{ status: { phase: 'Mounted', devices: [{ id: '/dev/fuse' }] } }]);
    expect(node.attached.get(`${NAMESPACE}/split-m`)).toMatchObject([{ id: '/dev/fuse' }]);
    await eventually(() => harness.eventsOf('split').length === 2);
    expect(await harness.handle('split-m').query('deviceMount')).toMatchObject({
      status: { phase: 'Mounted', devices: [{ id: '/dev/fuse' }], slaves: [status.slaves[0]] },
    });
    const pod = await harness.cluster.getPod({ namespace: NAMESPACE, name: 'split' });
    expect(JSON.parse(pod?.metadata?.annotations?.[ANNOTATIONS.devices] ?? '')).toMatchObject([{ id: '/dev/fuse' }]);

    const other = await harness.mount(signed(mountRequest('split', { name: 'other', resources: { [TUN]: '1' } })));
    expect(other.status.phase).toBe('Mounted');
    expect(await harness.findingsOf('split-m', 'other')).toEqual([]);
    await harness.unmount(signed(unmountRequest('split', { device: '/dev/fuse' })));
    expect(await harness.handle('split-m').result()).toMatchObject({ status: { phase: 'Released' } });
    expect([...node.attached.keys()]).toEqual([`${NAMESPACE}/other`]);
  });

  test('ends a split mount with the last of its devices, also when they go at the same time', async () => {
    const node = await harness.addNode('both', 1);
    harness.cluster.addDevices('both', TUN, 1);
    await harness.mount(signed(mountRequest('both', { resources: { [FUSE]: '1', [TUN]: '1' }, split: true })));
    await Promise.all(
      ['/dev/fuse', '/dev/tun'].map((device) => harness.unmount(signed(unmountRequest('both', { device })))),
    );
    expect(await harness.handle('both-m').result()).toMatchObject({ status: { phase: 'Released' } });
    expect(harness.leftOf('both', node)).toEqual([]);
  });

  test('takes nothing of a split mount when its device is in use', async () => {
    const node = await harness.addNode('hold', 1);
    harness.cluster.addDevices('hold', TUN, 1);
    await harness.mount(signed(mountRequest('hold', { resources: { [FUSE]: '1', [TUN]: '1' }, split: true })));
    node.busy = true;
    const device = '/dev/tun';
    expect(await failureFrom(harness.unmount(signed(unmountRequest('hold', { device }))))).toMatchObject({
      type: 'DeviceBusy',
    });
    expect(await harness.handle('hold-m').query('deviceMount')).toMatchObject({
      status: { phase: 'Mounted', devices: [{}, {}] },
    });
  });

  test('takes none of two devices that have the same id of two device plugins', async () => {
    const node = await harness.addNode('alike', 1);
    const other = 'example.com/other_fuse';
    harness.cluster.addDevices('alike', other, 1);
    await harness.mount(signed(mountRequest('alike', { resources: { [FUSE]: '1', [other]: '1' }, split: true })));
    const refused = failureFrom(harness.unmount(signed(unmountRequest('alike', { device: '/dev/fuse' }))));
    expect(await refused).toMatchObject({
      type: 'BadRequest',
      message: `Cannot unmount only "/dev/fuse": several devices have that id, a ${other} of mount "alike-m" and a ${FUSE} of mount "alike-m". Choose by "mount", or unmount all`,
    });
    expect(node.attached.get(`${NAMESPACE}/alike-m`)).toHaveLength(2);
  });

  test('releases a mount that waits in the queue', async () => {
    const node = await harness.addNode('unqueue', 0);
    const mounting = failureFrom(harness.mount(signed(mountRequest('unqueue', { queue: true }))));
    await eventually(() => harness.leftOf('unqueue', node).length === 1);
    await eventually(async () =>
      JSON.stringify((await harness.handle('unqueue-m').describe()).memo).includes('Insufficient'),
    );
    await harness.unmount(signed(unmountRequest('unqueue')));
    expect(await mounting).toMatchObject({ type: 'Canceled' });
    await harness.closed('unqueue-m');
    expect(harness.leftOf('unqueue', node)).toEqual([]);
  });

  test('answers the UID that the mount was answered with', async () => {
    await harness.addNode('same', 1);
    const { metadata } = await harness.mount(signed(mountRequest('same')));
    const { items } = await harness.unmount(signed(unmountRequest('same')));
    expect(items.map((mount) => mount.metadata.uid)).toEqual([metadata.uid]);
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

describe('an unmount that is cancelled', () => {
  test('ends between two tries when its node fails again and again', async () => {
    const node = await harness.addNode('stop-failing', 1);
    await harness.mount(signed(mountRequest('stop-failing')));
    node.failing = 'Internal';
    const unmount = signed(unmountRequest('stop-failing'));
    const handle = harness.client.workflow.getHandle(unmountWorkflowId(CLUSTER, NAMESPACE, unmount.request.id));
    const begun = harness.gates.stop(handle.workflowId, { activity: 'detachDevices', when: 'before' });
    const unmounting = failureFrom(harness.unmount(unmount));
    await begun;
    harness.gates.open();
    await eventually(async () => (await handle.describe()).historyLength > 40);
    await handle.cancel();
    expect(await unmounting).toMatchObject({ type: 'Canceled' });
    expect(node.attached.size).toBe(1);
  });

  test.each([
    ['while it detaches', 'stop-detach', 'before'],
    ['when it has detached', 'stop-detached', 'after'],
  ] as const)('%s finishes what it has begun', async (_name, pod, when) => {
    const node = await harness.addNode(pod, 1);
    await harness.mount(signed(mountRequest(pod)));
    const unmount = signed(unmountRequest(pod));
    const workflowId = unmountWorkflowId(CLUSTER, NAMESPACE, unmount.request.id);
    const stopped = harness.gates.stop(workflowId, { activity: 'detachDevices', when });
    const unmounting = harness.unmount(unmount);
    await stopped;
    await harness.client.workflow.getHandle(workflowId).cancel();
    await eventually(async () => {
      const { raw, historyLength } = await harness.client.workflow.getHandle(workflowId).describe();
      return raw.pendingWorkflowTask == null && historyLength > 0;
    });
    harness.gates.open();
    expect((await unmounting).items).toHaveLength(1);
    expect(await harness.handle(`${pod}-m`).result()).toMatchObject({ status: { phase: 'Released' } });
    expect(harness.leftOf(pod, node)).toEqual([]);
  });
});

describe('every history of this file', () => {
  test('replays', async () => {
    expect(await harness.replayed()).toEqual([]);
  });
});
