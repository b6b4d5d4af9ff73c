import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Harness } from './harness.ts';
import { eventually, failureFrom } from './outcome.ts';
import { FUSE, mountRequest, NAMESPACE, signed } from './requests.ts';

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterAll(() => harness.stop());

/** Resolves when the mount says why it waits. */
async function waits(mount: string, why: RegExp): Promise<void> {
  await eventually(async () => {
    const { message = '' } = (await harness.recordOf(mount).catch(() => undefined))?.status ?? {};
    return why.test(message);
  });
}

async function attachesOf(mount: string): Promise<number> {
  const { events } = await harness.handle(mount).fetchHistory();
  const steps = (events ?? []).map((event) => event.activityTaskScheduledEventAttributes?.activityType?.name);
  return steps.filter((name) => name === 'attachDevices').length;
}

/** A mount pauses for 1, 2 and 4 s, and not for 4 s more; that leaves some seconds for all that is slow. */
const DEADLINE_SECONDS = 11;

describe('a mount while the device plugin restarts', () => {
  test('gets another slave for each that the kubelet refuses', async () => {
    const node = await harness.addNode('refusing', 1);
    harness.cluster.refusePods('refusing', 2);
    const { status } = await harness.mount(signed(mountRequest('refusing')));
    expect(status).toMatchObject({ phase: 'Mounted', devices: [{ id: '/dev/fuse' }] });
    expect(status.message).toBeUndefined();
    const slaves = harness.cluster.slaves(NAMESPACE).filter(({ metadata }) => metadata?.name?.startsWith('refusing-'));
    expect(slaves.map(({ metadata }) => metadata?.uid)).toEqual(status.slaves.map(({ uid }) => uid));
    expect(await attachesOf('refusing-m')).toBe(3);
    await harness.handle('refusing-m').cancel();
    await eventually(async () => (await harness.statusOf('refusing-m')) === 'CANCELLED');
    expect(harness.leftOf('refusing', node)).toEqual([]);
  });

  test('waits for devices that its Node has none of now', async () => {
    await harness.addNode('without', 0);
    harness.cluster.setAllocatable('without', FUSE, 0);
    const mounting = harness.mount(signed(mountRequest('without')));
    await waits('without-m', /Insufficient/);
    harness.cluster.addDevices('without', FUSE, 1);
    expect(await mounting).toMatchObject({ status: { phase: 'Mounted' } });
  });

  test('keeps a slave that the scheduler finds nothing for although there is a device by now', async () => {
    await harness.addNode('overlooked', 1);
    harness.cluster.overlookPods('overlooked', 1);
    const mounting = harness.mount(signed(mountRequest('overlooked')));
    await waits('overlooked-m', /Insufficient/);
    // As the scheduler does when it hears of what has changed.
    harness.cluster.addDevices('overlooked', FUSE, 1);
    expect(await mounting).toMatchObject({ status: { phase: 'Mounted' } });
    expect(await attachesOf('overlooked-m')).toBe(1);
  });

  test('fails with the words of the scheduler when the devices stay away', async () => {
    const node = await harness.addNode('away', 0);
    harness.cluster.setAllocatable('away', FUSE, 0);
    const failure = await failureFrom(
      harness.mount(signed(mountRequest('away', { deadlineSeconds: DEADLINE_SECONDS }))),
    );
    expect(failure).toMatchObject({ type: 'InsufficientDevices', message: expect.stringContaining('Insufficient') });
    await harness.closed('away-m');
    expect(harness.leftOf('away', node)).toEqual([]);
  });

  test('does not wait for devices that others have', async () => {
    const node = await harness.addNode('in-use', 0);
    expect(await failureFrom(harness.mount(signed(mountRequest('in-use'))))).toMatchObject({
      type: 'InsufficientDevices',
    });
    expect(await attachesOf('in-use-m')).toBe(1);
    await harness.closed('in-use-m');
    expect(harness.leftOf('in-use', node)).toEqual([]);
  });

  test('fails with what it was refused for when there is no time left to begin again', async () => {
    const node = await harness.addNode('for-ever', 1);
    harness.cluster.refusePods('for-ever', 1_000);
    const failure = await failureFrom(
      harness.mount(signed(mountRequest('for-ever', { deadlineSeconds: DEADLINE_SECONDS }))),
    );
    expect(failure).toMatchObject({ type: 'SlaveEnded', message: expect.stringContaining('UnexpectedAdmissionError') });
    expect(await attachesOf('for-ever-m')).toBeGreaterThan(1);
    await harness.closed('for-ever-m');
    expect(harness.leftOf('for-ever', node)).toEqual([]);
  });

  test('ends at once by Cancel, also while it waits', async () => {
    const node = await harness.addNode('cancelled', 1);
    harness.cluster.refusePods('cancelled', 1_000);
    const mounting = failureFrom(harness.mount(signed(mountRequest('cancelled'))));
    await waits('cancelled-m', /^Trying again: .*UnexpectedAdmissionError/);
    await harness.handle('cancelled-m').cancel();
    expect(await mounting).toMatchObject({ type: 'Canceled' });
    await eventually(async () => (await harness.statusOf('cancelled-m')) === 'CANCELLED');
    expect(harness.leftOf('cancelled', node)).toEqual([]);
  });

  test('goes on with a control worker that has come in the place of a killed one', async () => {
    await harness.addNode('survivor', 1);
    harness.cluster.refusePods('survivor', 2);
    const mounting = harness.mount(signed(mountRequest('survivor')));
    await waits('survivor-m', /^Trying again: /);
    await harness.killControl();
    await harness.startControl();
    expect(await mounting).toMatchObject({ status: { phase: 'Mounted' } });
  });
});

describe('every history of this file', () => {
  test('replays', async () => {
    expect(await harness.replayed()).toEqual([]);
  });
});
