import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { WithStartWorkflowOperation } from '@temporalio/client';
import { ClusterError } from '../../activities/cluster.ts';
import type { DeviceMount } from '../../contract/device-mount.ts';
import type { DeviceMountObject } from '../../contract/device-mount-object.ts';
import { mountWorkflowId } from '../../contract/names.ts';
import type { MountRequest, Signed } from '../../contract/requests.ts';
import { SIGNALS, UPDATES, WORKFLOWS } from '../../contract/workflows.ts';
import { untilAnswered } from './cluster-client.ts';
import { Harness } from './harness.ts';
import { eventually, failureFrom } from './outcome.ts';
import { CLUSTER, FUSE, forged, mountRequest, NAMESPACE, signed, unmountRequest } from './requests.ts';

const ENDING = new ClusterError(403, 'Forbidden', 'the namespace is being terminated', ['NamespaceTerminating']);
const AWAY = new ClusterError(503, 'ServiceUnavailable', 'etcd has no leader');

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterAll(() => harness.stop());

const objectOf = (name: string): Promise<DeviceMountObject | undefined> =>
  harness.cluster.getMount({ namespace: NAMESPACE, name });

/** Starts a mount, and waits for its object, as an apiserver does whose caller does not wait for the mount. */
function begin(request: Signed<MountRequest>): Promise<DeviceMount> {
  const { name } = request.request;
  return untilAnswered((updateId) => {
    const startWorkflowOperation = new WithStartWorkflowOperation(WORKFLOWS.mount, {
      workflowId: mountWorkflowId(CLUSTER, NAMESPACE, name),
      taskQueue: harness.queue,
      args: [request],
      workflowIdConflictPolicy: 'USE_EXISTING',
    });
    return harness.client.workflow.executeUpdateWithStart(UPDATES.shown, { startWorkflowOperation, updateId });
  });
}

describe('the object of a mount', () => {
  test('is there before "shown" and "mounted" answer, and shows the mount soon after', async () => {
    await harness.addNode('early', 0);
    const begun = await begin(signed(mountRequest('early', { queue: true })));
    const pending = await objectOf('early-m');
    expect(pending).toMatchObject({ spec: { podName: 'early' }, status: { phase: 'Pending', user: 'jane' } });
    expect(begun).toMatchObject({ metadata: { uid: pending?.metadata.uid }, status: { phase: 'Pending' } });
    const mounting = harness.mount(signed(mountRequest('early', { queue: true })));
    harness.cluster.addDevices('early', FUSE, 1);
    const { metadata, status } = await mounting;
    expect(metadata.uid).toBe(pending?.metadata.uid);
    const object = await harness.shows('early-m');
    expect(object.status).toMatchObject({ devices: status.devices, slaves: status.slaves });
    // A watch that begins at the version of the answer sees what has followed.
    expect(Number(object.metadata.resourceVersion)).toBeGreaterThanOrEqual(Number(metadata.resourceVersion));
    const record = await harness.recordOf('early-m');
    expect(object.status).toMatchObject({ mountUid: record.metadata.uid, version: record.metadata.resourceVersion });
  });

  test('is not waited for by the node, only by the answer', async () => {
    const node = await harness.addNode('beside', 1);
    const held = Promise.withResolvers<void>();
    harness.cluster.mountsHeld = held.promise;
    const mounting = harness.mount(signed(mountRequest('beside')));
    await eventually(() => node.attached.size === 1);
    expect(await objectOf('beside-m')).toBeUndefined();
    held.resolve();
    expect((await mounting).metadata.uid).toBe((await objectOf('beside-m'))?.metadata.uid);
    expect((await harness.shows('beside-m', 'Mounted')).status?.slaves).toHaveLength(1);
  });

  test('shows the end, and gets the Events, too', async () => {
    await harness.addNode('end', 1);
    await harness.mount(signed(mountRequest('end')));
    const { metadata } = await harness.shows('end-m');
    await eventually(() => harness.eventsOf('end').length === 1);
    await harness.unmount(signed(unmountRequest('end')));
    await harness.closed('end-m');
    expect(await objectOf('end-m')).toMatchObject({ status: { phase: 'Released', reason: 'Unmounted', devices: [] } });
    const about = { kind: 'DeviceMount', apiVersion: 'device-mounter.io/v1beta1', uid: metadata.uid };
    const events = harness.cluster.events.filter(({ involvedObject }) => involvedObject.name === 'end-m');
    expect(events).toMatchObject([
      { reason: 'MountDevice', involvedObject: about },
      { reason: 'UnMountDevice', involvedObject: about },
    ]);
  });

  test('shows why a mount was not made', async () => {
    await harness.addNode('none', 0);
    expect(await failureFrom(harness.mount(signed(mountRequest('none'))))).toMatchObject({
      type: 'InsufficientDevices',
    });
    await harness.closed('none-m');
    expect(await objectOf('none-m')).toMatchObject({ status: { phase: 'Failed', reason: 'InsufficientDevices' } });
  });

  test('shows since when a mount is degraded, until that is healed', async () => {
    await harness.addNode('torn', 1);
    await harness.mount(signed(mountRequest('torn')));
    const handle = harness.handle('torn-m');
    await handle.signal(SIGNALS.degraded, { at: '2026-01-01T00:00:00Z', why: 'the kernel hides its programs' });
    const degraded = { since: '2026-01-01T00:00:00.000Z', message: 'the kernel hides its programs' };
    await eventually(async () => (await objectOf('torn-m'))?.status?.degraded);
    expect(await objectOf('torn-m')).toMatchObject({ status: { phase: 'Mounted', degraded } });
    await handle.signal(SIGNALS.driftHealed, { at: 'now', what: 'the rule was missing' });
    await eventually(async () => (await objectOf('torn-m'))?.status?.degraded === undefined);
  });

  test('is not made for a request that nobody has signed', async () => {
    await harness.addNode('forged', 1);
    const failed = { type: 'InvalidSignature' };
    expect(await failureFrom(harness.mount(forged(mountRequest('forged'))))).toMatchObject(failed);
    await harness.closed('forged-m');
    expect(await objectOf('forged-m')).toBeUndefined();
  });

  test('is of the mount that has its name now', async () => {
    await harness.addNode('heir', 1);
    await harness.mount(signed(mountRequest('heir')));
    const before = await harness.shows('heir-m');
    await harness.unmount(signed(unmountRequest('heir')));
    await harness.closed('heir-m');
    await harness.mount(signed(mountRequest('heir', { labels: { app: 'x' } })));
    const after = await harness.shows('heir-m');
    expect(after.metadata.uid).not.toBe(before.metadata.uid);
    expect(after.status?.mountUid).toBe((await harness.recordOf('heir-m')).metadata.uid);
  });

  test('comes back when somebody deletes or edits it and the owner hears of that', async () => {
    const node = await harness.addNode('undone', 1);
    await harness.mount(signed(mountRequest('undone')));
    const before = await harness.shows('undone-m');
    const ref = { namespace: NAMESPACE, name: 'undone-m' };
    await harness.cluster.deleteMount(ref, { uid: before.metadata.uid ?? '' });
    await harness.handle('undone-m').signal(SIGNALS.project);
    const again = await harness.shows('undone-m');
    expect(again.status).toMatchObject({ version: before.status?.version, devices: before.status?.devices });
    harness.cluster.edit(ref, (object) => ({ ...object, spec: { ...object.spec, container: 'other' } }));
    await harness.handle('undone-m').signal(SIGNALS.project);
    await eventually(async () => (await objectOf('undone-m'))?.spec.container === 'main');
    expect(node.attached.size).toBe(1);
  });

  test('shows what the owner knows, also when it once showed more: Temporal was restored from a backup', async () => {
    await harness.addNode('restored', 1);
    await harness.mount(signed(mountRequest('restored')));
    const { status } = await harness.shows('restored-m');
    const version = String(Number(status?.version) + 30_000);
    harness.cluster.edit({ namespace: NAMESPACE, name: 'restored-m' }, (object) => ({
      ...object,
      ...(status !== undefined && { status: { ...status, version, message: 'of a later time' } }),
    }));
    await harness.handle('restored-m').signal(SIGNALS.project);
    const again = await eventually(async () => {
      const object = await objectOf('restored-m');
      return object?.status?.message === undefined ? object : undefined;
    });
    expect(again.status).toMatchObject({ phase: 'Mounted', version: String(Number(version) + 1) });
    expect((await harness.recordOf('restored-m')).metadata.resourceVersion).toBe(again.status?.version);
  });
});

describe('a mount', () => {
  test.each([
    ['in a namespace that ends', 'ending', () => (harness.cluster.refuseMounts = ENDING)],
    ['without the CustomResourceDefinition', 'bare', () => (harness.cluster.installed = false)],
  ])('is made and given back %s', async (_name, pod, spoil) => {
    const node = await harness.addNode(pod, 1);
    spoil();
    try {
      const request = signed(mountRequest(pod));
      const begun = await begin(request);
      const mounted = await harness.mount(request);
      expect(mounted.status.phase).toBe('Mounted');
      // It has no version that a watch could begin at.
      const { uid } = (await harness.recordOf(`${pod}-m`)).metadata;
      for (const { metadata } of [begun, mounted]) expect(metadata).toMatchObject({ uid, resourceVersion: '' });
      await harness.unmount(signed(unmountRequest(pod)));
      expect(await harness.handle(`${pod}-m`).result()).toMatchObject({ status: { phase: 'Released' } });
      expect(harness.leftOf(pod, node)).toEqual([]);
    } finally {
      harness.cluster.refuseMounts = undefined;
      harness.cluster.installed = true;
    }
    expect(await objectOf(`${pod}-m`)).toBeUndefined();
  });

  test('is cancelled, and can be repeated, when it is to show something at the same moment', async () => {
    const node = await harness.addNode('told', 1);
    const handle = harness.handle('told-m');
    const attaching = harness.gates.stop(handle.workflowId, { activity: 'attachDevices', when: 'before' });
    const mounting = failureFrom(harness.mount(signed(mountRequest('told'))));
    await attaching;
    await harness.stopControl();
    await handle.signal(SIGNALS.renew, 'nonsense');
    await handle.cancel();
    await harness.startControl();
    expect(await mounting).toMatchObject({ type: 'Canceled' });
    harness.gates.open();
    await harness.closed('told-m');
    expect(harness.leftOf('told', node)).toEqual([]);
  });

  test('is answered when its object cannot be written in time, and is shown later', async () => {
    await harness.addNode('slow', 1);
    harness.cluster.refuseMounts = AWAY;
    try {
      const answer = { metadata: { resourceVersion: '' }, status: { phase: 'Mounted' } };
      expect(await harness.mount(signed(mountRequest('slow')))).toMatchObject(answer);
    } finally {
      harness.cluster.refuseMounts = undefined;
    }
    await harness.shows('slow-m');
  });
});

describe('every history of this file', () => {
  test('replays', async () => {
    expect(await harness.replayed()).toEqual([]);
  });
});
