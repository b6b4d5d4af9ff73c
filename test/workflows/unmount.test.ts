import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { Harness } from './harness.ts';
import { eventually, failureFrom } from './outcome.ts';
import { forged, mountRequest, signed, unmountRequest } from './requests.ts';

jest.setTimeout(60_000);

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
}, 120_000);
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
    const { items } = await harness.unmount(signed(unmountRequest('busy', { force: true })));
    expect(items).toHaveLength(2);
    expect(node.attached.size).toBe(0);
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
    expect(harness.leftOf('unqueue', node)).toEqual([]);
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

describe('every history of this file', () => {
  test('replays', async () => {
    expect(await harness.replayed()).toEqual([]);
  });
});
