import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { ClusterError } from '../../activities/cluster.ts';
import { type Finder, findMounts } from '../../activities/find-mounts.ts';
import type { DeviceMount } from '../../contract/device-mount.ts';
import { type DeviceMountObject, OBJECT_LABELS } from '../../contract/device-mount-object.ts';
import { Harness } from './harness.ts';
import { failureFrom } from './outcome.ts';
import { mountRequest, NAMESPACE, signed, unmountRequest } from './requests.ts';

jest.setTimeout(60_000);

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
}, 120_000);
afterEach(() => harness.gates.open());
afterAll(() => harness.stop());

const NO_CRD = new ClusterError(404, 'NotFound', 'the server could not find the requested resource');

/** How kube-apiserver shows a mount. */
function objectOf({ metadata, spec, status }: DeviceMount, phase = status.phase, label = phase): DeviceMountObject {
  return {
    apiVersion: 'device-mounter.io/v1beta1',
    kind: 'DeviceMount',
    metadata: {
      name: metadata.name,
      namespace: metadata.namespace,
      uid: `object of ${metadata.name}`,
      resourceVersion: '7',
      labels: { [OBJECT_LABELS.targetUid]: spec.podUid, [OBJECT_LABELS.phase]: label },
      ownerReferences: [],
    },
    spec,
    status: {
      ...status,
      phase,
      mountUid: metadata.uid,
      workflowId: harness.handle(metadata.name).workflowId,
      version: metadata.resourceVersion,
      summary: '',
      conditions: [],
      confirmedAt: metadata.creationTimestamp,
    },
  };
}

interface Known {
  readonly objects: readonly DeviceMountObject[] | ClusterError;
  /** What visibility tells; absent where it must not be asked. */
  readonly hinted?: readonly string[];
}

/** The mounts that an unmount finds, and of which workflows it has asked. */
async function find(pod: string, { objects, hinted }: Known, more: Parameters<typeof unmountRequest>[1] = {}) {
  const { cluster, owners, ...verifier } = harness.dependencies();
  const asked: string[] = [];
  const finder: Finder = {
    ...verifier,
    cluster: {
      listPods: (labels, namespace) => cluster.listPods(labels, namespace),
      async listMounts(labels, namespace) {
        if (objects instanceof ClusterError) throw objects;
        expect([labels, namespace]).toEqual([`${OBJECT_LABELS.targetUid}=uid-${pod}`, NAMESPACE]);
        return { items: objects };
      },
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
  const found = await findMounts(finder, { signed: signed(unmountRequest(pod, more)) });
  return { found, names: found.map(({ mount }) => mount.metadata.name), asked: asked.toSorted() };
}

/** A mount that has begun and has no slave yet, and lets it go on. */
async function begun(pod: string): Promise<{ readonly mount: DeviceMount; readonly finish: () => Promise<void> }> {
  await harness.addNode(pod, 1);
  const stopped = harness.gates.stop(harness.handle(`${pod}-m`).workflowId, {
    activity: 'createSlave',
    when: 'before',
  });
  const mounting = harness.mount(signed(mountRequest(pod)));
  await stopped;
  const mount = await harness.handle(`${pod}-m`).query<DeviceMount>('deviceMount');
  const finish = async (): Promise<void> => {
    harness.gates.open();
    await mounting;
    await harness.unmount(signed(unmountRequest(pod)));
  };
  return { mount, finish };
}

describe('findMounts()', () => {
  test('finds a mount that has an object and no slave yet, though visibility knows nothing', async () => {
    const { mount, finish } = await begun('shown');
    const { found, names } = await find('shown', { objects: [objectOf(mount)] });
    expect(names).toEqual(['shown-m']);
    expect(found).toMatchObject([{ owned: true, object: { uid: 'object of shown-m', resourceVersion: '7' } }]);
    expect(harness.cluster.slaves(NAMESPACE)).toEqual([]);
    await finish();
  });

  test.each([
    ['an object that was deleted', 'no-object', []],
    ['a cluster without the CRD', 'no-crd', NO_CRD],
  ])('finds a mount without a slave by the hint of visibility, with %s', async (_name, pod, objects) => {
    const { finish } = await begun(pod);
    expect((await find(pod, { objects, hinted: [`${pod}-m`] })).names).toEqual([`${pod}-m`]);
    await finish();
  });

  test('finds a mount by its slave, without an object and without visibility', async () => {
    await harness.addNode('slave', 1);
    await harness.mount(signed(mountRequest('slave')));
    const { found, names } = await find('slave', { objects: [] });
    expect(names).toEqual(['slave-m']);
    expect(found[0]).not.toHaveProperty('object');
  });

  test('asks each owner once, and none of a mount whose end is shown', async () => {
    await harness.addNode('two', 2);
    const one = await harness.mount(signed(mountRequest('two', { name: 'two-1' })));
    await harness.mount(signed(mountRequest('two', { name: 'two-2' })));
    const ended = { ...one, metadata: { ...one.metadata, name: 'two-ended' } };
    const ending = { ...one, metadata: { ...one.metadata, name: 'two-again' } };
    // A name that is used again: the label tells of the next mount already.
    const objects = [objectOf(one), objectOf(ended, 'Released'), objectOf(ending, 'Released', 'Pending')];
    const { names, asked } = await find('two', { objects });
    expect([names.toSorted(), asked]).toEqual([
      ['two-1', 'two-2'],
      ['two-1', 'two-2', 'two-again'],
    ]);
  });

  test('asks of no other mount when it names one', async () => {
    await harness.addNode('named', 2);
    const one = await harness.mount(signed(mountRequest('named', { name: 'named-1' })));
    await harness.mount(signed(mountRequest('named', { name: 'named-2' })));
    const { found, asked } = await find('named', { objects: [objectOf(one)] }, { mount: 'named-1' });
    expect([found.length, asked]).toEqual([1, ['named-1']]);
  });

  test('takes the object of an earlier mount of the name for no object of this one', async () => {
    await harness.addNode('reused', 1);
    const mount = await harness.mount(signed(mountRequest('reused')));
    const earlier = objectOf({ ...mount, metadata: { ...mount.metadata, uid: 'earlier' } });
    expect((await find('reused', { objects: [earlier] })).found[0]).not.toHaveProperty('object');
  });

  test('finds nothing only after the last hint', async () => {
    await harness.addNode('nothing', 1);
    expect(await failureFrom(find('nothing', { objects: [], hinted: [] }))).toMatchObject({ type: 'NothingMounted' });
  });

  test('does not say that nothing is mounted while kube-apiserver cannot tell', async () => {
    await harness.addNode('unwell', 1);
    const unwell = new ClusterError(503, 'ServiceUnavailable', 'etcd is away');
    await expect(find('unwell', { objects: unwell, hinted: [] })).rejects.toBe(unwell);
  });
});
