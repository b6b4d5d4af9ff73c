import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ClusterError } from '../../activities/cluster.ts';
import type { DeviceMount } from '../../contract/device-mount.ts';
import { QUERIES, SIGNALS } from '../../contract/workflows.ts';
import { Harness } from './harness.ts';
import { eventually } from './outcome.ts';
import { mountRequest, NAMESPACE, signed } from './requests.ts';

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterAll(() => harness.stop());

describe('a mount', () => {
  test.each([
    ['is deleted', 'gone-a', (pod: string) => harness.cluster.removePod({ namespace: NAMESPACE, name: pod })],
    ['finishes', 'gone-b', (pod: string) => harness.cluster.setPhase({ namespace: NAMESPACE, name: pod }, 'Succeeded')],
    ['is evicted', 'gone-c', (pod: string) => harness.cluster.setPhase({ namespace: NAMESPACE, name: pod }, 'Failed')],
    [
      'is replaced under its name',
      'gone-d',
      (pod: string) => {
        harness.cluster.removePod({ namespace: NAMESPACE, name: pod });
        harness.cluster.addTarget(NAMESPACE, pod, pod, 'uid-other');
      },
    ],
  ])('is released with TargetGone when its target %s', async (_name, pod, end) => {
    const node = await harness.addNode(pod, 1);
    await harness.mount(signed(mountRequest(pod)));
    end(pod);
    expect(await harness.handle(`${pod}-m`).result()).toMatchObject({
      status: { phase: 'Released', reason: 'TargetGone' },
    });
    expect(harness.leftOf(pod, node)).toEqual([]);
  });

  test('goes on after its container has restarted, and shows where it is now', async () => {
    await harness.addNode('again', 1);
    await harness.mount(signed(mountRequest('again')));
    await harness.handle('again-m').signal(SIGNALS.containerRestarted, { containerId: 'c2', reapplied: true });
    await eventually(async () => JSON.stringify((await harness.handle('again-m').describe()).memo).includes('c2'));
    const what = 'the rule for c 10:229 was missing';
    await harness.handle('again-m').signal(SIGNALS.driftHealed, { at: '2026-01-01T00:00:00Z', what });
    await eventually(async () => JSON.stringify((await harness.handle('again-m').describe()).memo).includes(what));
    expect(await harness.handle('again-m').query('deviceMount')).toMatchObject({ status: { phase: 'Mounted' } });
    const why = 'the kernel hides the instructions of a device program';
    await harness.handle('again-m').signal(SIGNALS.degraded, { at: '2026-01-01T00:00:00Z', why });
    const degraded = `Degraded since 2026-01-01T00:00:00Z: ${why}`;
    await eventually(async () => JSON.stringify((await harness.handle('again-m').describe()).memo).includes(degraded));
    // One Event of each reason for all that happens within a minute.
    await eventually(() => harness.eventsOf('again').length === 3);
    expect(harness.eventsOf('again')).toEqual(['MountDevice', 'MendDevice', 'DeviceDegraded']);
  });

  test('is released with ContainerRestarted when it is not to be applied again', async () => {
    const node = await harness.addNode('once', 1);
    await harness.mount(signed(mountRequest('once', { onRestart: 'release' })));
    await harness.handle('once-m').signal(SIGNALS.containerRestarted, { containerId: 'c2', reapplied: false });
    expect(await harness.handle('once-m').result()).toMatchObject({
      status: { phase: 'Released', reason: 'ContainerRestarted' },
    });
    expect(harness.leftOf('once', node)).toEqual([]);
  });
});

const phaseOf = async (name: string): Promise<string> =>
  (await harness.handle(name).query<DeviceMount>(QUERIES.deviceMount)).status.phase;

const stepsOf = async (name: string): Promise<readonly (string | null | undefined)[]> =>
  ((await harness.handle(name).fetchHistory()).events ?? []).map(
    ({ activityTaskScheduledEventAttributes: scheduled }) => scheduled?.activityType?.name,
  );

describe('a mount that is released politely', () => {
  test('is not taken by force because its node worker is away: it stays while it is in use', async () => {
    const node = await harness.addNode('polite', 1);
    await harness.mount(signed(mountRequest('polite')));
    node.busy = true;
    await harness.stopNode('polite');
    await harness.handle('polite-m').signal(SIGNALS.release, { by: 'jane', reason: 'done' });
    // It has learned that the node worker is away.
    await eventually(async () => (await stepsOf('polite-m')).includes('nodeState'));
    await harness.startNode('polite');
    const phase = await eventually(async () => {
      const now = await phaseOf('polite-m');
      return now === 'Releasing' ? undefined : now;
    });
    expect(phase).toBe('Mounted');
    expect(harness.leftOf('polite', node)).toHaveLength(2);
    expect(await harness.findingsOf('polite-m')).toEqual([]);
    node.busy = false;
    await harness.handle('polite-m').signal(SIGNALS.release, { by: 'jane', reason: 'done' });
    expect(await harness.handle('polite-m').result()).toMatchObject({ status: { reason: 'Unmounted' } });
    expect(harness.leftOf('polite', node)).toEqual([]);
  });
});

describe('a mount whose node fails while kube-apiserver is not well', () => {
  test('is given back as soon as both are well again', async () => {
    const node = await harness.addNode('both-ill', 1);
    await harness.mount(signed(mountRequest('both-ill')));
    node.failing = 'Internal';
    harness.cluster.unwellNodes = new ClusterError(429, 'TooManyRequests', 'try again later');
    await harness.handle('both-ill-m').cancel();
    const isAsked = async (times: number): Promise<boolean> => {
      const { events } = await harness.handle('both-ill-m').fetchHistory();
      const steps = (events ?? []).map((event) => event.activityTaskScheduledEventAttributes?.activityType?.name);
      return steps.filter((name) => name === 'detachDevices').length >= times;
    };
    try {
      await eventually(async () => (await isAsked(2)) || (await harness.statusOf('both-ill-m')) !== 'RUNNING');
    } finally {
      harness.cluster.unwellNodes = undefined;
      node.failing = undefined;
    }
    await harness.closed('both-ill-m');
    expect(await harness.statusOf('both-ill-m')).toBe('CANCELLED');
    expect(harness.leftOf('both-ill', node)).toEqual([]);
  });
});

describe('a mount whose slave ends while its target cannot be read', () => {
  test('ends for that reason, with nothing left', async () => {
    const node = await harness.addNode('unread', 1);
    const { status } = await harness.mount(signed(mountRequest('unread')));
    await eventually(() => harness.eventsOf('unread').length === 1);
    harness.cluster.unwell = new ClusterError(500, 'InternalError', 'etcd is not well');
    harness.cluster.unwellPod = 'unread';
    try {
      harness.cluster.removePod({ namespace: NAMESPACE, name: status.slaves[0]?.name ?? '' });
      const mount = async (): Promise<DeviceMount> => harness.handle('unread-m').query('deviceMount');
      await eventually(async () => (await mount()).status.phase === 'Failed');
      expect(await mount()).toMatchObject({ status: { reason: 'SlaveEnded', slaves: [], devices: [] } });
    } finally {
      harness.cluster.unwell = undefined;
      harness.cluster.unwellPod = undefined;
    }
    await harness.closed('unread-m');
    expect(harness.leftOf('unread', node)).toEqual([]);
  });
});

describe('devices in use are freed only once the node has ended their users, of a mount that', () => {
  test.each([
    ['is cancelled', 'used-a', (name: string) => harness.handle(name).cancel()],
    [
      'was terminated',
      'used-b',
      async (name: string) => {
        await harness.handle(name).terminate();
        await harness.reconcile();
      },
    ],
  ])('%s', async (_name, pod, end) => {
    const node = await harness.addNode(pod, 1);
    const { status } = await harness.mount(signed(mountRequest(pod)));
    node.busy = true;
    await end(`${pod}-m`);
    await eventually(() => harness.leftOf(pod, node).length === 0);
    expect(gracesOf(status.slaves[0]?.name)).toEqual([30, 1]);
  });

  test('is undone', async () => {
    const node = await harness.addNode('used-c', 1);
    const attached = Promise.withResolvers<void>();
    node.slow = attached.promise;
    harness.mount(signed(mountRequest('used-c'))).catch(() => undefined);
    await eventually(() => node.attached.size === 1);
    const [slave] = harness.cluster.slaves(NAMESPACE).filter(({ spec }) => spec?.nodeName === 'used-c');
    node.busy = true;
    await harness.handle('used-c-m').cancel();
    attached.resolve();
    await eventually(() => harness.leftOf('used-c', node).length === 0);
    expect(gracesOf(slave?.metadata?.name)).toEqual([30, 1]);
  });
});

function gracesOf(slave: string | undefined): readonly number[] {
  return harness.cluster.graces.filter(([pod]) => pod === slave).map(([, seconds]) => seconds);
}

describe('every history of this file', () => {
  test('replays', async () => {
    expect(await harness.replayed()).toEqual([]);
  });
});
