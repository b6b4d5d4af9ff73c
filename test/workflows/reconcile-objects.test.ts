import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { ClusterError } from '../../activities/cluster.ts';
import { confirmMounts } from '../../activities/settle-mount.ts';
import type { DeviceMountObject } from '../../contract/device-mount-object.ts';
import { Harness } from './harness.ts';
import { eventually } from './outcome.ts';
import { mountRequest, NAMESPACE, signed, unmountRequest } from './requests.ts';

const MINUTE_MS = 60_000;

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterEach(() => {
  harness.aheadMs = 0;
});
afterAll(() => harness.stop());

const refOf = (pod: string) => ({ namespace: NAMESPACE, name: `${pod}-m` });
const objectOf = (pod: string): Promise<DeviceMountObject | undefined> => harness.cluster.getMount(refOf(pod));

/** A pod with a mount that is shown. */
async function mounted(
  pod: string,
): Promise<{ node: Awaited<ReturnType<Harness['addNode']>>; object: DeviceMountObject }> {
  const node = await harness.addNode(pod, 1);
  await harness.mount(signed(mountRequest(pod)));
  const object = await harness.shows(`${pod}-m`);
  await eventually(() => harness.eventsOf(pod).length === 1);
  return { node, object };
}

async function unmounted(pod: string): Promise<void> {
  await harness.unmount(signed(unmountRequest(pod)));
  await harness.closed(`${pod}-m`);
}

async function deleted(object: DeviceMountObject): Promise<void> {
  const { namespace, name, uid = '' } = object.metadata;
  await harness.cluster.deleteMount({ namespace, name }, { uid });
}

/** What a run of the reconciler does about one mount. */
async function reconciled(pod: string, input = {}): Promise<readonly string[]> {
  const { findings } = await harness.reconcile(input);
  return findings
    .filter(({ mount }) => mount === `${pod}-m`)
    .map(({ action, why, done }) => `${action} ${why} ${done}`);
}

/** The activities of a workflow, in their order. */
async function stepsOf(workflowId: string): Promise<readonly string[]> {
  const { events } = await harness.client.workflow.getHandle(workflowId).fetchHistory();
  return (events ?? []).flatMap(({ activityTaskScheduledEventAttributes: step }) => step?.activityType?.name ?? []);
}

describe('reconcileMounts()', () => {
  test('leaves alone the object of a mount that was changed just now', async () => {
    const { object } = await mounted('young');
    await deleted(object);
    // However long all of that has taken.
    harness.aheadMs = Number(object.status?.version) + 1_000 - Date.now();
    expect(await reconciled('young')).toEqual([]);
    expect(await objectOf('young')).toBeUndefined();
  });

  test('has the object of an open mount written again that somebody has deleted, and in a dry run only tells so', async () => {
    const { node, object } = await mounted('gone');
    await deleted(object);
    harness.aheadMs = MINUTE_MS;
    // A lagging index of Temporal says that there is such a mount.
    await eventually(async () => (await reconciled('gone', { dryRun: true })).length > 0);
    expect(await reconciled('gone', { dryRun: true })).toEqual(['project it has no object false']);
    expect(await objectOf('gone')).toBeUndefined();
    expect(await reconciled('gone')).toEqual(['project it has no object true']);
    const again = await eventually(async () => (await objectOf('gone'))?.status);
    expect(again).toMatchObject({ phase: 'Mounted', mountUid: object.status?.mountUid });
    expect(await reconciled('gone')).toEqual([]);
    expect(node.attached.size).toBe(1);
  });

  test('has the object of an open mount written again that somebody has edited', async () => {
    const { object } = await mounted('edited');
    harness.cluster.edit(refOf('edited'), ({ status, ...rest }) => ({
      ...rest,
      ...(status && { status: { ...status, phase: 'Failed' } }),
    }));
    harness.aheadMs = MINUTE_MS;
    expect(await reconciled('edited')).toEqual(['project its object does not show it true']);
    const isBack = async () => (await objectOf('edited'))?.status?.phase === 'Mounted';
    await eventually(isBack);
    expect((await objectOf('edited'))?.status?.devices).toEqual(object.status?.devices);
  });

  test('shows the end of a mount whose workflow was terminated', async () => {
    const { node } = await mounted('shot');
    await harness.handle('shot-m').terminate('by hand');
    expect(await reconciled('shot')).toEqual(
      expect.arrayContaining(['project its object does not show how it has ended true']),
    );
    expect(await objectOf('shot')).toMatchObject({ status: { phase: 'Failed', reason: 'Terminated' } });
    await eventually(async () => (await reconciled('shot')).length === 0);
    expect((await objectOf('shot'))?.status).toMatchObject({ devices: [], slaves: [] });
    expect(harness.leftOf('shot', node)).toEqual([]);
  });

  test('shows the end of a mount that could not do so itself', async () => {
    const { object } = await mounted('mute');
    await unmounted('mute');
    harness.cluster.edit(refOf('mute'), (now) => ({ ...now, ...(object.status && { status: object.status }) }));
    expect(await reconciled('mute')).toEqual(['project its object does not show how it has ended true']);
    expect(await objectOf('mute')).toMatchObject({ status: { phase: 'Released', reason: 'Unmounted' } });
  });

  test('removes the object of a mount ten minutes after its end', async () => {
    await mounted('old');
    await unmounted('old');
    harness.aheadMs = 9 * MINUTE_MS;
    expect(await reconciled('old')).toEqual([]);
    harness.aheadMs = 11 * MINUTE_MS;
    expect(await reconciled('old', { dryRun: true })).toEqual(['remove it has ended ten minutes ago false']);
    expect(await objectOf('old')).toBeDefined();
    expect(await reconciled('old')).toEqual(['remove it has ended ten minutes ago true']);
    expect(await objectOf('old')).toBeUndefined();
  });

  test('says every ten minutes that an object still shows its mount, and not in a dry run', async () => {
    const { object } = await mounted('sure');
    const before = object.status?.confirmedAt ?? '';
    harness.aheadMs = 9 * MINUTE_MS;
    await harness.reconcile();
    harness.aheadMs = 11 * MINUTE_MS;
    await harness.reconcile({ dryRun: true });
    expect((await objectOf('sure'))?.status?.confirmedAt).toBe(before);
    expect(await reconciled('sure')).toEqual([]);
    const after = await objectOf('sure');
    expect(Date.parse(after?.status?.confirmedAt ?? '') - Date.parse(before)).toBeGreaterThan(10 * MINUTE_MS);
    expect({ ...after?.status, confirmedAt: before }).toEqual(object.status);
  });

  test('takes back devices before it writes objects, and confirms objects after all repairs', async () => {
    const [shot, sure] = [await mounted('shot2'), await mounted('sure2')];
    const { metadata, spec, status } = sure.object;
    const confirmedAt = '2020-01-01T00:00:00Z';
    harness.cluster.edit(refOf('sure2'), (now) => ({ ...now, ...(status && { status: { ...status, confirmedAt } }) }));
    await harness.handle('shot2-m').terminate('by hand');
    // More than a page of objects that have ended long ago, after the others.
    const names = Array.from({ length: 60 }, (_, index) => `past-${index}`);
    for (const name of names) {
      const { uid: _uid, resourceVersion: _version, ...rest } = metadata;
      const made = await harness.cluster.createMount({ ...sure.object, metadata: { ...rest, name }, spec });
      const past = { phase: 'Released', node: 'zzz', version: '1', confirmedAt } as const;
      await harness.cluster.replaceMountStatus({ ...made, ...(status && { status: { ...status, ...past } }) });
    }
    const { findings } = await harness.reconcile({}, 'reconcile/order');
    expect(findings.find(({ mount }) => mount.startsWith('shot2') || mount.startsWith('past'))).toMatchObject({
      action: 'free',
      done: true,
    });
    expect(findings.filter(({ action, mount }) => action === 'remove' && mount.startsWith('past-'))).toHaveLength(60);
    expect(harness.leftOf('shot2', shot.node)).toEqual([]);
    const steps = await stepsOf('reconcile/order');
    expect(steps.filter((step) => step === 'surveyMounts').length).toBeGreaterThan(1);
    expect(steps.indexOf('confirmMounts')).toBe(steps.length - 1);
  });

  test('confirms many objects side by side, and those that are fresh by then not again', async () => {
    const { object } = await mounted('fresh');
    const { owners, ...deps } = harness.dependencies();
    let [asking, most] = [0, 0];
    const describe = async (namespace: string, name: string) => {
      most = Math.max(most, ++asking);
      const owner = await owners.describe(namespace, name);
      asking--;
      return owner;
    };
    const confirm = () => {
      const refs = Array.from({ length: 20 }, () => refOf('fresh'));
      return confirmMounts({ ...deps, owners: { ...owners, describe } }, refs);
    };
    await confirm();
    expect([most, await objectOf('fresh')]).toEqual([0, object]);
    harness.aheadMs = 11 * MINUTE_MS;
    await confirm();
    expect(most).toBe(8);
    expect((await objectOf('fresh'))?.status?.confirmedAt).not.toBe(object.status?.confirmedAt);
  });

  test('repairs mounts while nobody can list their objects, and says so', async () => {
    const { node } = await mounted('unread');
    await harness.handle('unread-m').terminate('by hand');
    harness.cluster.refuseLists = new ClusterError(503, 'ServiceUnavailable', 'no endpoints available');
    try {
      const { findings } = await harness.reconcile();
      const why = 'the objects of mounts cannot be read: no endpoints available';
      expect(findings).toMatchObject([
        { mount: '', action: 'keep', why, done: false },
        { mount: 'unread-m', action: 'free', done: true },
      ]);
    } finally {
      harness.cluster.refuseLists = undefined;
    }
    expect(harness.leftOf('unread', node)).toEqual([]);
  });

  test('goes on without the CustomResourceDefinition', async () => {
    const { node } = await mounted('bare');
    await harness.handle('bare-m').terminate('by hand');
    harness.cluster.installed = false;
    try {
      expect(await reconciled('bare')).toEqual(['free its workflow has closed true']);
    } finally {
      harness.cluster.installed = true;
    }
    expect(harness.leftOf('bare', node)).toEqual([]);
  });
});

describe('reconcileMounts() after Temporal has lost its database', () => {
  test('shows adopted mounts, calls lost what has no slaves, and takes nothing from anybody', async () => {
    const kept = await mounted('kept');
    const bereft = await mounted('bereft');
    const hidden = await mounted('hidden');
    for (const { metadata } of harness.cluster.slaves(NAMESPACE)) {
      const isOf = metadata?.name?.startsWith('bereft-');
      if (isOf) harness.cluster.removePod({ namespace: NAMESPACE, name: metadata?.name ?? '' });
    }
    // Then nobody writes that it has ended over what follows.
    await harness.closed('bereft-m');
    harness.cluster.edit(refOf('bereft'), (now) => ({
      ...now,
      ...(bereft.object.status && { status: bereft.object.status }),
    }));
    await deleted(hidden.object);
    await harness.loseTemporal();
    const { findings } = await harness.reconcile();
    expect(findings.map(({ mount, action, done }) => [mount, action, done])).toEqual(
      expect.arrayContaining([
        ['kept-m', 'adopt', true],
        ['hidden-m', 'adopt', true],
        ['bereft-m', 'project', true],
      ]),
    );
    expect(await objectOf('bereft')).toMatchObject({ status: { phase: 'Failed', reason: 'Lost', devices: [] } });
    const again = await eventually(async () => (await objectOf('hidden'))?.status);
    expect(again).toMatchObject({ phase: 'Mounted', mountUid: hidden.object.status?.mountUid });
    const { mountUid, version } = kept.object.status ?? {};
    const isAdopted = async () => Number((await objectOf('kept'))?.status?.version) > Number(version);
    await eventually(isAdopted);
    const { metadata, status } = (await objectOf('kept')) ?? {};
    expect([metadata?.uid, status?.phase, status?.mountUid]).toEqual([kept.object.metadata.uid, 'Mounted', mountUid]);
    expect([kept.node.attached.size, hidden.node.attached.size]).toEqual([1, 1]);
    expect(await reconciled('bereft')).toEqual([]);
    harness.aheadMs = 11 * MINUTE_MS;
    expect(await reconciled('bereft')).toEqual(['remove it has ended ten minutes ago true']);
  });
});

describe('every history of this file', () => {
  test('replays', async () => {
    expect(await harness.replayed()).toEqual([]);
  });
});
