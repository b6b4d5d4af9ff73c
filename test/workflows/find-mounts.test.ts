import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { ClusterError } from '../../activities/cluster.ts';
import { type Finder, findMounts } from '../../activities/find-mounts.ts';
import { type DeviceMountObject, OBJECT_LABELS } from '../../contract/device-mount-object.ts';
import type { UnmountRequest } from '../../contract/requests.ts';
import { UPDATES } from '../../contract/workflows.ts';
import { untilAnswered } from './cluster-client.ts';
import { Harness } from './harness.ts';
import { eventually, failureFrom } from './outcome.ts';
import { mountRequest, NAMESPACE, signed, unmountRequest } from './requests.ts';

const UNWELL = new ClusterError(503, 'ServiceUnavailable', 'etcd is away');

const silent = (): Promise<never> => new Promise(() => undefined);

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterEach(() => {
  harness.gates.open();
  harness.cluster.installed = true;
});
afterAll(() => harness.stop());

interface Changes {
  /** What visibility tells; absent where it must not be asked. */
  readonly hinted?: readonly string[];
  readonly listMounts?: Finder['cluster']['listMounts'];
  readonly request?: Partial<UnmountRequest>;
}

/** The mounts that an unmount finds, and of which workflows it has asked. */
async function find(pod: string, { hinted, listMounts, request }: Changes = {}) {
  const { cluster, owners, ...verifier } = harness.dependencies();
  const asked: string[] = [];
  const finder: Finder = {
    ...verifier,
    cluster: {
      listPods: (labels, namespace) => cluster.listPods(labels, namespace),
      listMounts: listMounts ?? ((labels, namespace) => cluster.listMounts(labels, namespace)),
    },
    owners: {
      ask: (namespace, name) => owners.ask(namespace, name),
      describe(namespace, name) {
        asked.push(name);
        return owners.describe(namespace, name);
      },
      async ofPod() {
        if (hinted === undefined) throw new Error('visibility lags: nobody may rely on it');
        return hinted;
      },
    },
  };
  const found = await findMounts(finder, { signed: signed(unmountRequest(pod, request)) });
  return { found, names: found.map(({ mount }) => mount.metadata.name).toSorted(), asked: asked.toSorted() };
}

async function mount(pod: string, name = `${pod}-m`): Promise<void> {
  await harness.mount(signed(mountRequest(pod, { name })));
}

const refOf = (name: string) => ({ namespace: NAMESPACE, name });

function objectOf(name: string): Promise<DeviceMountObject> {
  return eventually(() => harness.cluster.getMount(refOf(name)));
}

async function deleteObject(name: string): Promise<void> {
  const { metadata } = await objectOf(name);
  await harness.cluster.deleteMount(refOf(name), { uid: metadata.uid ?? '' });
}

/** Begins a mount and holds it where it has an object and no slave yet. Answers what waits for its end. */
async function begun(pod: string): Promise<() => Promise<unknown>> {
  await harness.addNode(pod, 1);
  harness.cluster.refuse = new ClusterError(429, 'TooManyRequests', 'try again later');
  const mounting = mount(pod);
  // Where nobody waits for the mount alone, it is shown before it has a slave.
  await eventually(() => harness.statusOf(`${pod}-m`).catch(() => undefined));
  await untilAnswered((updateId) => harness.handle(`${pod}-m`).executeUpdate(UPDATES.shown, { updateId }));
  return async () => {
    harness.cluster.refuse = undefined;
    await mounting;
    await harness.unmount(signed(unmountRequest(pod)));
  };
}

describe('findMounts()', () => {
  test('finds a mount that has an object and no slave yet, though visibility knows nothing', async () => {
    const finish = await begun('shown');
    const { found, names } = await find('shown');
    expect(names).toEqual(['shown-m']);
    const { uid, resourceVersion } = (await objectOf('shown-m')).metadata;
    expect(found).toMatchObject([{ owned: true, object: { uid, resourceVersion } }]);
    expect(harness.cluster.slaves(NAMESPACE)).toEqual([]);
    await finish();
  });

  test.each([
    ['an object that was deleted', 'no-object', () => deleteObject('no-object-m')],
    ['a cluster without the CRD', 'no-crd', async () => void (harness.cluster.installed = false)],
  ])('finds a mount without a slave by the hint of visibility, with %s', async (_name, pod, lose) => {
    const finish = await begun(pod);
    await lose();
    expect((await find(pod, { hinted: [`${pod}-m`] })).names).toEqual([`${pod}-m`]);
    await finish();
  });

  test('finds a mount by its slave, without an object and without visibility', async () => {
    await harness.addNode('slave', 1);
    await mount('slave');
    // After that nobody makes it again.
    await harness.shows('slave-m');
    await deleteObject('slave-m');
    const { found, names } = await find('slave');
    expect(names).toEqual(['slave-m']);
    expect(found[0]).not.toHaveProperty('object');
  });

  test('asks each owner once, and none of a mount whose end is shown', async () => {
    await harness.addNode('two', 2);
    for (const name of ['two-ended', 'two-again']) {
      await mount('two', name);
      await harness.unmount(signed(unmountRequest('two')));
      await eventually(async () => (await objectOf(name)).metadata.labels[OBJECT_LABELS.phase] === 'Released');
    }
    // A name that is used again: its labels are written before its status.
    harness.cluster.edit(refOf('two-again'), (object) => {
      const labels = { ...object.metadata.labels, [OBJECT_LABELS.phase]: 'Pending' };
      return { ...object, metadata: { ...object.metadata, labels } };
    });
    for (const name of ['two-1', 'two-2']) await mount('two', name);
    const { names, asked } = await find('two');
    expect([names, asked]).toEqual([
      ['two-1', 'two-2'],
      ['two-1', 'two-2', 'two-again'],
    ]);
  });

  test('asks of no other mount when it names one', async () => {
    await harness.addNode('named', 2);
    for (const name of ['named-1', 'named-2']) await mount('named', name);
    const { found, asked } = await find('named', { request: { mount: 'named-1' } });
    expect([found.length, asked]).toEqual([1, ['named-1']]);
  });

  test('takes the object of an earlier mount of the name for no object of this one', async () => {
    await harness.addNode('reused', 1);
    await mount('reused');
    await harness.shows('reused-m');
    harness.cluster.edit(refOf('reused-m'), (object) => ({
      ...object,
      ...(object.status !== undefined && { status: { ...object.status, mountUid: 'earlier' } }),
    }));
    expect((await find('reused')).found[0]).not.toHaveProperty('object');
  });

  test('finds nothing only after the last hint', async () => {
    await harness.addNode('nothing', 1);
    expect(await failureFrom(find('nothing', { hinted: [] }))).toMatchObject({ type: 'NothingMounted' });
  });

  test.each([
    ['answers 503', 'list-503', () => Promise.reject(UNWELL)],
    ['answers 429', 'list-429', () => Promise.reject(new ClusterError(429, 'TooManyRequests', 'later'))],
    ['does not answer', 'list-late', silent],
  ])('finds by slave and hint while the list of objects %s', async (_name, pod, listMounts) => {
    await harness.addNode(pod, 2);
    for (const name of [`${pod}-1`, `${pod}-2`]) await mount(pod, name);
    expect((await find(pod, { hinted: [], listMounts })).names).toEqual([`${pod}-1`, `${pod}-2`]);
    const begins = `${pod}-begins`;
    const finish = await begun(begins);
    expect((await find(begins, { hinted: [`${begins}-m`], listMounts })).names).toEqual([`${begins}-m`]);
    await finish();
  });

  test('finds a mount by its name without a list of objects', async () => {
    const finish = await begun('by-name');
    const { names } = await find('by-name', { listMounts: silent, request: { mount: 'by-name-m' } });
    expect(names).toEqual(['by-name-m']);
    await finish();
    const nothing = find('by-name', { listMounts: () => Promise.reject(UNWELL), request: { mount: 'nobody' } });
    expect(await failureFrom(nothing)).toMatchObject({ type: 'NothingMounted' });
  });

  test('does not say that nothing is mounted while kube-apiserver cannot tell', async () => {
    await harness.addNode('unwell', 1);
    await expect(find('unwell', { hinted: [], listMounts: () => Promise.reject(UNWELL) })).rejects.toBe(UNWELL);
  });
});
