import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { testBurst } from './burst.ts';
import { Harness } from './harness.ts';
import { eventually, failureFrom } from './outcome.ts';
import { waits } from './queue.ts';
import { FUSE, mountRequest, NAMESPACE, signed, unmountRequest } from './requests.ts';

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterAll(() => harness.stop());

describe('a mount', () => {
  test('starts from the queue in the order of the scheduler, each when a device is free', async () => {
    const node = await harness.addNode('line', 1);
    await harness.mount(signed(mountRequest('line', { name: 'line-1' })));
    const second = harness.mount(signed(mountRequest('line', { name: 'line-2', queue: true })));
    await eventually(() => harness.leftOf('line', node).length === 3);
    await waits(harness, 'line-2');
    // It waits without a step that would keep a worker from others.
    await eventually(async () => (await harness.pendingSteps('line-2')).length === 0);
    await harness.unmount(signed(unmountRequest('line', { mount: 'line-1' })));
    expect((await second).status.phase).toBe('Mounted');
    expect([...node.attached.keys()]).toEqual([`${NAMESPACE}/line-2`]);
  });

  test('is all or nothing when it asks for several resources', async () => {
    const node = await harness.addNode('several', 1);
    const tun = 'hostdev.k8s.io/dev_net_tun';
    const resources = { [FUSE]: '1', [tun]: '1' };
    expect(await failureFrom(harness.mount(signed(mountRequest('several', { resources }))))).toMatchObject({
      type: 'InsufficientDevices',
    });
    await harness.closed('several-m');
    expect(harness.leftOf('several', node)).toEqual([]);
    harness.cluster.addDevices('several', tun, 1);
    const mount = await harness.mount(signed(mountRequest('several', { resources, name: 'several-2' })));
    expect(mount.status.devices.map(({ resource }) => resource)).toEqual([FUSE, tun]);
    const one = signed(unmountRequest('several', { device: '/dev/fuse' }));
    expect(await failureFrom(harness.unmount(one))).toMatchObject({ type: 'BadRequest' });
    expect(node.attached.size).toBe(1);
  });

  test('is made by either of two control workers, and outlives both', async () => {
    const stopSecond = await harness.startSecondControl();
    await harness.addNode('pair', 4);
    const names = ['pair-1', 'pair-2', 'pair-3'];
    await Promise.all(names.map((name) => harness.mount(signed(mountRequest('pair', { name })))));
    await harness.stopControl();
    expect((await harness.mount(signed(mountRequest('pair', { name: 'pair-4' })))).status.phase).toBe('Mounted');
    await harness.startControl();
    await stopSecond();
    expect((await harness.unmount(signed(unmountRequest('pair')))).items).toHaveLength(4);
  });

  test('is not held up by a control worker that stops: what it waits for, the other waits for at once', async () => {
    const node = await harness.addNode('drain', 1);
    await harness.mount(signed(mountRequest('drain', { name: 'drain-1' })));
    const waiting = harness.mount(signed(mountRequest('drain', { name: 'drain-2', queue: true })));
    await eventually(() => harness.leftOf('drain', node).length === 3);
    // The end of a slave that takes its time, as when its node is away.
    harness.cluster.endSlowly = true;
    const unmounting = harness.unmount(signed(unmountRequest('drain', { mount: 'drain-1' })));
    await eventually(async () => (await harness.pendingSteps('drain-1')).includes('deleteSlave'));
    await waits(harness, 'drain-2');
    const stopSecond = await harness.startSecondControl();
    // A worker that waited for its steps would not stop in time, which is an error.
    await harness.stopControl();
    await unmounting;
    harness.cluster.finishEnding();
    expect((await waiting).status.phase).toBe('Mounted');
    await harness.startControl();
    await stopSecond();
    expect([...node.attached.keys()]).toEqual([`${NAMESPACE}/drain-2`]);
  });

  test('is made 48 times at once on one node', () => testBurst(harness, 48));
});
