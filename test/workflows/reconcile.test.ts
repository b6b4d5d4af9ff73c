import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ClusterError } from '../../activities/cluster.ts';
import { temporalOwners } from '../../activities/owners.ts';
import { ANNOTATIONS, reconcileSchedule, slaveName, unmountWorkflowId } from '../../contract/names.ts';
import { ensureSchedule } from '../../workflows/schedule.ts';
import { Harness } from './harness.ts';
import { eventually } from './outcome.ts';
import { CLUSTER, mountRequest, NAMESPACE, signed, unmountRequest } from './requests.ts';

const MOUNTS = 60;

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterAll(() => harness.stop());

/** What a run of the reconciler does about devices and slaves; `reconcile-objects.test.ts` has the rest. */
async function reconcile(...args: Parameters<Harness['reconcile']>): ReturnType<Harness['reconcile']> {
  const report = await harness.reconcile(...args);
  const findings = report.findings.filter(({ action }) => action !== 'project' && action !== 'remove');
  return { ...report, findings };
}

describe('reconcileMounts()', () => {
  test('finds nothing to do while every mount has its owner', async () => {
    await harness.addNode('fine', 1);
    await harness.mount(signed(mountRequest('fine')));
    expect(await reconcile()).toEqual({ dryRun: false, findings: [] });
  });

  test('reads nothing of mounts that are well but their node, however many', async () => {
    await harness.addNode('many', 10);
    const names = Array.from({ length: 10 }, (_, index) => `many-${index}`);
    await Promise.all(names.map((name) => harness.mount(signed(mountRequest('many', { name })))));
    // The watches know of all of them when they have told of the last.
    await eventually(async () => {
      const before = harness.cluster.reads;
      expect((await reconcile()).findings).toEqual([]);
      // A Node and a Lease for each of the nodes of this file.
      return harness.cluster.reads - before <= 2 * harness.cluster.nodes.size;
    });
    await harness.unmount(signed(unmountRequest('many')));
    // Their slaves are gone, of which no later survey tells.
    await Promise.all(names.map((name) => harness.closed(name)));
  });

  test('repairs the others when a mount cannot be looked at', async () => {
    await Promise.all(['blind', 'seen'].map((name) => harness.addNode(name, 1)));
    await Promise.all(['blind', 'seen'].map((name) => harness.mount(signed(mountRequest(name)))));
    for (const name of ['blind-m', 'seen-m']) await harness.handle(name).terminate('by hand');
    harness.cluster.unwell = new ClusterError(500, 'InternalError', 'etcd is not well');
    harness.cluster.unwellPod = harness.cluster
      .slaves(NAMESPACE)
      .find(({ metadata }) => metadata?.name?.startsWith('blind-'))?.metadata?.name;
    try {
      const why = 'it cannot be looked at now: etcd is not well';
      expect((await reconcile()).findings).toMatchObject([
        { mount: 'blind-m', action: 'keep', why, done: false },
        { mount: 'seen-m', action: 'free', done: true },
      ]);
    } finally {
      harness.cluster.unwell = undefined;
      harness.cluster.unwellPod = undefined;
    }
    expect((await reconcile()).findings).toMatchObject([{ mount: 'blind-m', action: 'free', done: true }]);
  });

  test('frees a mount whose workflow was terminated, and only reports it in a dry run', async () => {
    const node = await harness.addNode('shot', 1);
    const { status } = await harness.mount(signed(mountRequest('shot')));
    await eventually(() => harness.eventsOf('shot').length === 1);
    await harness.handle('shot-m').terminate('by hand');
    const found = { namespace: NAMESPACE, mount: 'shot-m', action: 'free', slaves: [status.slaves[0]?.name] };
    expect(await reconcile({ dryRun: true })).toMatchObject({ findings: [{ ...found, done: false }] });
    expect(harness.leftOf('shot', node)).toHaveLength(2);
    expect(harness.eventsOf('shot')).toEqual(['MountDevice']);
    expect(await reconcile()).toMatchObject({ findings: [{ ...found, done: true }] });
    expect(harness.leftOf('shot', node)).toEqual([]);
    expect(harness.eventsOf('shot')).toEqual(['MountDevice', 'UnMountDevice']);
    const target = await harness.cluster.getPod({ namespace: NAMESPACE, name: 'shot' });
    expect(target?.metadata?.annotations?.[ANNOTATIONS.devices]).toBeUndefined();
  });

  test('leaves alone what the pod is told of a mount that has the name of a freed one by now', async () => {
    await harness.addNode('heir', 1);
    await harness.mount(signed(mountRequest('heir')));
    await eventually(() => harness.eventsOf('heir').length === 1);
    await harness.handle('heir-m').terminate('by hand');
    const telling = harness.gates.stop('reconcile/heir', { activity: 'publish', when: 'before' });
    const reconciling = reconcile({}, 'reconcile/heir');
    await telling;
    const { status } = await harness.mount(signed(mountRequest('heir')));
    await eventually(() => harness.eventsOf('heir').length === 2);
    harness.gates.open();
    await reconciling;
    expect(harness.eventsOf('heir')).toEqual(['MountDevice', 'MountDevice', 'UnMountDevice']);
    const annotations = (await harness.cluster.getPod({ namespace: NAMESPACE, name: 'heir' }))?.metadata?.annotations;
    expect(JSON.parse(annotations?.[ANNOTATIONS.devices] ?? '')).toMatchObject([
      { mount: 'heir-m', slave: status.slaves[0]?.name },
    ]);
  });

  test('keeps the slave of a terminated mount while its node cannot take the devices back', async () => {
    const node = await harness.addNode('deaf', 1);
    await harness.mount(signed(mountRequest('deaf')));
    await harness.handle('deaf-m').terminate('by hand');
    await harness.stopNode('deaf');
    const report = await reconcile();
    expect(report.findings).toMatchObject([{ action: 'free', done: false, problem: expect.stringContaining('deaf') }]);
    expect(harness.leftOf('deaf', node)).toHaveLength(2);
    harness.cluster.nodes.delete('deaf');
    expect((await reconcile()).findings).toMatchObject([{ action: 'free', done: true }]);
    expect(harness.cluster.slaves(NAMESPACE).filter(({ spec }) => spec?.nodeName === 'deaf')).toEqual([]);
  });

  test('deletes a slave that its mount has given back, and nothing else of it', async () => {
    const node = await harness.addNode('part', 2);
    const { status } = await harness.mount(signed(mountRequest('part')));
    const { metadata } = await harness.recordOf('part-m');
    const kept = await harness.cluster.getPod(status.slaves[0]!);
    const name = slaveName('part', metadata.uid, 1);
    await harness.cluster.createPod(NAMESPACE, { ...kept, metadata: { ...kept?.metadata, name } });
    const found = { mount: 'part-m', action: 'delete', slaves: [name], done: true };
    expect((await reconcile()).findings).toMatchObject([found]);
    expect(harness.leftOf('part', node)).toEqual([`slave ${status.slaves[0]?.name}`, `${NAMESPACE}/part-m`]);
  });

  test('tells the owner of a mount whose node is gone', async () => {
    await harness.addNode('lost', 1);
    await harness.mount(signed(mountRequest('lost')));
    await harness.stopNode('lost');
    harness.cluster.nodes.delete('lost');
    await eventually(async () => (await reconcile()).findings.some(({ action }) => action === 'tell'));
    expect(await harness.handle('lost-m').result()).toMatchObject({ status: { reason: 'TargetGone' } });
  });

  test('tells the owner of a mount that a terminated unmount has detached', async () => {
    const node = await harness.addNode('torn', 1);
    await harness.mount(signed(mountRequest('torn')));
    const unmount = signed(unmountRequest('torn'));
    const unmounting = harness.client.workflow.getHandle(unmountWorkflowId(CLUSTER, NAMESPACE, unmount.request.id));
    const detached = harness.gates.stop(unmounting.workflowId, { activity: 'detachDevices', when: 'after' });
    const answer = harness.unmount(unmount).catch(() => 'none');
    await detached;
    await unmounting.terminate('by mistake');
    harness.gates.open();
    expect(await answer).toBe('none');
    expect(await harness.handle('torn-m').query('deviceMount')).toMatchObject({ status: { phase: 'Mounted' } });
    const found = { mount: 'torn-m', action: 'tell', why: 'its devices were taken back', done: true };
    expect((await reconcile()).findings).toMatchObject([found]);
    expect(await harness.handle('torn-m').result()).toMatchObject({ status: { phase: 'Released' } });
    expect(harness.leftOf('torn', node)).toEqual([]);
  });

  test('leaves a foreign slave alone while its target lives, and deletes it then', async () => {
    await harness.addNode('old', 1);
    harness.cluster.addForeignSlave(NAMESPACE, 'old-slave', 'old');
    expect((await reconcile()).findings).toMatchObject([{ action: 'keep', slaves: ['old-slave'] }]);
    harness.cluster.removePod({ namespace: NAMESPACE, name: 'old' }, false);
    expect((await reconcile()).findings).toMatchObject([{ action: 'delete', done: true }]);
    expect(await harness.cluster.getPod({ namespace: NAMESPACE, name: 'old-slave' })).toBeUndefined();
  });

  test('frees a foreign slave that is unmounted', async () => {
    await harness.addNode('old2', 1);
    harness.cluster.addForeignSlave(NAMESPACE, 'old2-slave', 'old2');
    await harness.unmount(signed(unmountRequest('old2')));
    await eventually(
      async () => (await harness.cluster.getPod({ namespace: NAMESPACE, name: 'old2-slave' })) === undefined,
    );
  });

  test('gives every mount a new owner when Temporal has lost its database', async () => {
    // More than fit into one page of findings.
    const node = await harness.addNode('kept', MOUNTS);
    const names = Array.from({ length: MOUNTS }, (_, index) => `kept-${index}`);
    const mounts = await Promise.all(names.map((name) => harness.mount(signed(mountRequest('kept', { name })))));
    const records = await Promise.all(mounts.map(({ metadata }) => harness.recordOf(metadata.name)));
    // Tenants can write anything into it.
    const annotations = { [ANNOTATIONS.devices]: '[{"mount":"kept-0"},null,{"mount":"kept-1","id":"x","nodes":5}]' };
    await harness.cluster.mergePod({ namespace: NAMESPACE, name: 'kept' }, { metadata: { annotations } });
    await harness.loseTemporal();
    const { findings } = await reconcile();
    expect(findings.filter(({ mount }) => mount.startsWith('kept-')).map(({ action }) => action)).toEqual(
      names.map(() => 'adopt'),
    );
    expect(node.attached.size).toBe(MOUNTS);
    for (const { metadata, status } of records) {
      const owner = await eventually(
        async () => (await harness.handle(metadata.name).describe()).memo?.['deviceMount'],
      );
      expect(owner).toMatchObject({ metadata: { uid: metadata.uid }, status: { slaves: status.slaves, user: 'jane' } });
    }
    await eventually(async () => (await reconcile()).findings.length === 0);
    const { items } = await harness.unmount(signed(unmountRequest('kept')));
    expect(items).toHaveLength(MOUNTS);
    expect(await harness.handle('kept-0').result()).toMatchObject({ status: { phase: 'Released' } });
    await eventually(() => harness.leftOf('kept', node).length === 0);
  });
});

describe('a mount that is adopted', () => {
  test('waits for a kube-apiserver that is not well, however long, instead of ending', async () => {
    const node = await harness.addNode('unwell', 1);
    const request = signed(mountRequest('unwell'));
    await harness.mount(request);
    const mount = await harness.recordOf('unwell-m');
    await eventually(() => harness.eventsOf('unwell').length === 1);
    await harness.handle('unwell-m').terminate('by hand');
    harness.cluster.unwell = new ClusterError(429, 'TooManyRequests', 'try again later');
    expect(await temporalOwners(harness.client, CLUSTER).adopt(request, mount)).toBe(true);
    await eventually(async () => {
      const { raw } = await harness.handle('unwell-m').describe();
      return raw.pendingActivities?.some(({ attempt }) => (attempt ?? 0) > 5) ?? raw.workflowExecutionInfo?.closeTime;
    });
    harness.cluster.unwell = undefined;
    await eventually(async () => (await harness.pendingSteps('unwell-m')).length === 0);
    expect(await harness.statusOf('unwell-m')).toBe('RUNNING');
    await harness.unmount(signed(unmountRequest('unwell')));
    expect(await harness.handle('unwell-m').result()).toMatchObject({ status: { phase: 'Released' } });
    expect(harness.leftOf('unwell', node)).toEqual([]);
  });
});

const schedule = () => harness.client.schedule.getHandle(reconcileSchedule(CLUSTER));
const updatedAt = async () => (await schedule().describe()).info.lastUpdatedAt?.getTime();

describe('ensureSchedule()', () => {
  test('has it run as often as told', async () => {
    await Promise.all([ensureSchedule(harness.client, CLUSTER, 1), ensureSchedule(harness.client, CLUSTER, 1)]);
    await eventually(async () => (await schedule().describe()).info.numActionsTaken >= 2);
    await ensureSchedule(harness.client, CLUSTER, 3_600);
    expect((await schedule().describe()).spec.intervals).toMatchObject([{ every: 3_600_000 }]);
  });

  test('changes only what is not as it should be, and leaves a pause alone', async () => {
    await ensureSchedule(harness.client, CLUSTER, 3_600);
    const before = await updatedAt();
    await ensureSchedule(harness.client, CLUSTER, 3_600);
    expect(await updatedAt()).toBe(before);
    await schedule().pause('looking first');
    await schedule().update(({ policies, action, state }) => ({
      policies,
      action: { ...action, args: [{ dryRun: true }] },
      state,
      spec: { intervals: [{ every: '1d' }], calendars: [{ hour: 1 }] },
    }));
    await ensureSchedule(harness.client, CLUSTER, 3_600);
    expect(await schedule().describe()).toMatchObject({
      spec: { intervals: [{ every: 3_600_000 }], calendars: [] },
      action: { workflowType: 'reconcileMounts', args: [{}], workflowRunTimeout: 600_000 },
      state: { paused: true, note: 'looking first' },
    });
  });
});

describe('every history of this file', () => {
  test('replays', async () => {
    expect(await harness.replayed()).toEqual([]);
  });
});
