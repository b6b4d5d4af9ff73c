import { describe, expect, test } from '@jest/globals';
import type { DeviceMount } from './device-mount.ts';
import { agrees, type DeviceMountObject, mountOfObject, objectOf } from './device-mount-object.ts';

const CLUSTER = 'c1';
const AT = '2026-03-01T12:00:00.000Z';
const FUSE = {
  id: '/dev/fuse',
  resource: 'hostdev.k8s.io/dev_fuse',
  slave: 'web-0-slave-0',
  nodes: [{ path: '/dev/fuse', type: 'c', major: 10, minor: 229, access: 'rwm' }],
} as const;

function mountWith(status: Partial<DeviceMount['status']> = {}, labels?: Record<string, string>): DeviceMount {
  return {
    apiVersion: 'device-mounter.io/v1alpha1',
    kind: 'DeviceMount',
    metadata: {
      name: 'web-0-x',
      namespace: 'shop',
      uid: 'run-1',
      creationTimestamp: '2026-03-01T10:00:00.000Z',
      resourceVersion: String(Date.parse('2026-03-01T11:00:00.700Z')),
      ...(labels !== undefined && { labels }),
    },
    spec: {
      podName: 'web-0',
      podUid: '6f1c2a64-0000-4000-8000-000000000001',
      container: 'app',
      deviceType: 'HOSTDEV',
      resources: { 'hostdev.k8s.io/dev_fuse': '1' },
      onRestart: 'reapply',
      leaseSeconds: 60,
    },
    status: {
      phase: 'Mounted',
      user: 'jane',
      node: 'node-1',
      devices: [FUSE],
      slaves: [{ namespace: 'shop', name: 'web-0-slave-0', uid: 's-1' }],
      mountedAt: '2026-03-01T10:00:01.250Z',
      leaseEndsAt: '2026-03-01T13:00:00.000Z',
      ...status,
    },
  };
}

/** What kube-apiserver answers for an object that it has stored. */
function stored(object: DeviceMountObject, generation: number): DeviceMountObject {
  const kept = { uid: 'object-1', resourceVersion: '77', generation, creationTimestamp: '2026-03-01T10:00:00Z' };
  return { ...object, metadata: { ...object.metadata, ...kept } };
}

/** An object that shows `mount`, as a reader finds it. */
function shown(mount: DeviceMount): DeviceMountObject {
  const before = stored(objectOf(mount, { cluster: CLUSTER, at: AT }), 1);
  return stored(objectOf(mount, { cluster: CLUSTER, at: AT, before }), 1);
}

const devices = (...ids: string[]) => ids.map((id) => ({ id, resource: 'x.io/gpu', nodes: [] }));
const conditionsIn = ({ status }: DeviceMountObject) =>
  Object.fromEntries((status?.conditions ?? []).map(({ type, status, reason }) => [type, `${status} ${reason}`]));

describe('objectOf()', () => {
  test('shows the mount, where it is, and who owns it', () => {
    const mount = mountWith({}, { team: 'blue', 'device-mounter.io/phase': 'nonsense' });
    expect(objectOf(mount, { cluster: CLUSTER, at: AT })).toEqual({
      apiVersion: 'device-mounter.io/v1beta1',
      kind: 'DeviceMount',
      metadata: {
        name: 'web-0-x',
        namespace: 'shop',
        labels: {
          team: 'blue',
          'device-mounter.io/owner-uid': '6f1c2a64-0000-4000-8000-000000000001',
          'device-mounter.io/node': 'node-1',
          'device-mounter.io/phase': 'Mounted',
        },
        ownerReferences: [
          { apiVersion: 'v1', kind: 'Pod', name: 'web-0', uid: '6f1c2a64-0000-4000-8000-000000000001' },
        ],
      },
      spec: mount.spec,
      status: {
        ...mount.status,
        mountUid: 'run-1',
        workflowId: 'mount/c1/shop/web-0-x',
        version: mount.metadata.resourceVersion,
        summary: '/dev/fuse',
        conditions: [
          {
            type: 'Mounted',
            status: 'True',
            reason: 'Mounted',
            message: 'The container can use the devices.',
            lastTransitionTime: '2026-03-01T10:00:01Z',
          },
          {
            type: 'Degraded',
            status: 'False',
            reason: 'AsExpected',
            message: '',
            lastTransitionTime: '2026-03-01T11:00:00Z',
          },
        ],
        confirmedAt: AT,
      },
    });
  });

  test.each([
    ['no node yet', undefined, undefined],
    ['a node with a name of 63 characters', 'n'.repeat(63), 'n'.repeat(63)],
    ['a node whose name is too long for a label', 'n'.repeat(64), undefined],
  ])('gives a mount with %s a label that kube-apiserver takes, or none', (_name, node, label) => {
    const { node: _, ...status } = mountWith().status;
    const mount = { ...mountWith(), status: { ...status, ...(node !== undefined && { node }) } };
    expect(objectOf(mount, { cluster: CLUSTER, at: AT }).metadata.labels['device-mounter.io/node']).toBe(label);
  });

  test('keeps the labels of others, and none of ours that the mount has no more', () => {
    const mount = mountWith({ node: undefined } as object);
    const object = shown(mountWith());
    const before = {
      ...object,
      metadata: { ...object.metadata, labels: { ...object.metadata.labels, 'x.io/a': 'b' } },
    };
    const { labels } = objectOf(mount, { cluster: CLUSTER, at: AT, before }).metadata;
    expect(before.metadata.labels).toHaveProperty(['device-mounter.io/node']);
    expect(labels).toMatchObject({ 'x.io/a': 'b' });
    expect(labels).not.toHaveProperty(['device-mounter.io/node']);
  });

  test.each([
    ['what was asked for while there is none', [], '(hostdev.k8s.io/dev_fuse=1)'],
    ['ids where no path is known', devices('GPU-1', 'GPU-2'), 'GPU-1,GPU-2'],
    ['a path where one is known', [{ ...FUSE, id: 'GPU-1' }], '/dev/fuse'],
    ['three of many', devices('a', 'b', 'c', 'd', 'e'), 'a,b,c,+2'],
  ])('sums up devices: %s', (_name, has, summary) => {
    expect(objectOf(mountWith({ devices: has }), { cluster: CLUSTER, at: AT }).status?.summary).toBe(summary);
  });

  test('sums up claims that were asked for', () => {
    const mount = mountWith({ devices: [] });
    const spec = { ...mount.spec, claims: [{ name: 'gpu', resourceClaimName: 'gpu-of-web' }] };
    const { status } = objectOf({ ...mount, spec }, { cluster: CLUSTER, at: AT });
    expect(status?.summary).toBe('(hostdev.k8s.io/dev_fuse=1,resourceclaim:gpu)');
  });

  const degraded = { since: '2026-03-01T10:30:00.999Z', message: 'no /dev' };
  test.each<[string, Partial<DeviceMount['status']>, string, string]>([
    ['Pending', { phase: 'Pending', devices: [] }, 'False Pending', 'False NotMounted'],
    ['Mounted', {}, 'True Mounted', 'False AsExpected'],
    ['Mounted and degraded', { degraded }, 'True Mounted', 'True DeviceDegraded'],
    [
      'Releasing, which may be refused',
      { phase: 'Releasing', reason: 'Unmounted' },
      'True Releasing',
      'False AsExpected',
    ],
    ['Released', { phase: 'Released', reason: 'LeaseEnded' }, 'False LeaseEnded', 'False NotMounted'],
    [
      'Failed after it was degraded',
      { phase: 'Failed', reason: 'SlaveEnded', degraded },
      'False SlaveEnded',
      'False NotMounted',
    ],
  ])('has conditions for %s', (_name, status, Mounted, Degraded) => {
    expect(conditionsIn(objectOf(mountWith(status), { cluster: CLUSTER, at: AT }))).toEqual({ Mounted, Degraded });
  });

  const warnings = [{ type: 'DriverFilesMissing', message: 'no libcuda.so.1' }] as const;
  test.each<[string, DeviceMount['status']['phase'], object]>([
    ['while it is mounted', 'Mounted', { DriverFilesMissing: 'True NotInContainer' }],
    ['until its devices are gone', 'Releasing', { DriverFilesMissing: 'True NotInContainer' }],
    ['and not once it has ended', 'Released', {}],
  ])('has a condition for what the container lacks %s', (_name, phase, expected) => {
    const object = objectOf(mountWith({ phase, warnings }), { cluster: CLUSTER, at: AT });
    const { Mounted: _mounted, Degraded: _degraded, ...others } = conditionsIn(object);
    expect(others).toEqual(expected);
  });

  test('keeps the time of a condition while its status stays, and says since when it has changed', () => {
    const before = shown(mountWith());
    const later = { ...mountWith({ phase: 'Releasing', degraded, mountedAt: '2026-03-01T10:59:00.000Z' }) };
    expect(objectOf(later, { cluster: CLUSTER, at: AT, before }).status?.conditions).toMatchObject([
      { status: 'True', reason: 'Releasing', lastTransitionTime: '2026-03-01T10:00:01Z', observedGeneration: 1 },
      { status: 'True', message: 'no /dev', lastTransitionTime: '2026-03-01T10:30:00Z', observedGeneration: 1 },
    ]);
  });

  test('cuts a message that kube-apiserver would not take', () => {
    const mount = mountWith({ phase: 'Failed', message: 'x'.repeat(40_000) });
    expect(objectOf(mount, { cluster: CLUSTER, at: AT }).status?.conditions[0]?.message).toHaveLength(32_768);
    const cut = mountWith({ phase: 'Failed', message: `${'x'.repeat(32_767)}\u{1f600}` });
    expect(objectOf(cut, { cluster: CLUSTER, at: AT }).status?.conditions[0]?.message.isWellFormed()).toBe(true);
  });
});

describe('agrees()', () => {
  const mount = mountWith({}, { team: 'blue' });
  const object = shown(mount);
  const with_ = (change: object): DeviceMountObject => ({ ...object, ...change });
  const metadata = (change: object) => with_({ metadata: { ...object.metadata, ...change } });
  const status = (change: object) => with_({ status: { ...object.status, ...change } });

  test.each([
    ['as it was written', object],
    ['confirmed later', status({ confirmedAt: '2026-03-01T14:00:00.000Z' })],
    ['with a label of somebody else', metadata({ labels: { ...object.metadata.labels, 'x.io/a': 'b' } })],
    [
      'with its keys in another order',
      with_({ status: Object.fromEntries(Object.entries(object.status ?? {}).toReversed()) }),
    ],
  ])('is true of an object %s', (_name, found) => {
    expect(agrees(found, mount, CLUSTER)).toBe(true);
  });

  test.each([
    ['without status', with_({ status: undefined })],
    ['whose spec was edited', metadata({ generation: 2 })],
    ['with another spec', with_({ spec: { ...object.spec, leaseSeconds: 61 } })],
    ['of another phase', status({ phase: 'Pending' })],
    ['with more in its status', status({ reason: 'Unmounted' })],
    ['of another mount with its name', status({ mountUid: 'run-0' })],
    ['of an earlier version', status({ version: '1' })],
    ['of another cluster', status({ workflowId: 'mount/c2/shop/web-0-x' })],
    ['without a condition', status({ conditions: object.status?.conditions.slice(1) })],
    ['without owner', metadata({ ownerReferences: [] })],
    ['without labels', metadata({ labels: undefined })],
    ['with an edited label', metadata({ labels: { ...object.metadata.labels, 'device-mounter.io/phase': 'Failed' } })],
    ['with an edited label of the mount', metadata({ labels: { ...object.metadata.labels, team: 'red' } })],
  ])('is false of an object %s', (_name, found) => {
    expect(agrees(found, mount, CLUSTER)).toBe(false);
  });

  test('is false of an object with the label of a node that the mount has not', () => {
    const { node: _, ...rest } = mount.status;
    const nowhere = { ...mount, status: rest };
    const object = shown(nowhere);
    const labels = { ...object.metadata.labels, 'device-mounter.io/node': 'node-1' };
    expect(agrees(object, nowhere, CLUSTER)).toBe(true);
    expect(agrees({ ...object, metadata: { ...object.metadata, labels } }, nowhere, CLUSTER)).toBe(false);
  });
});

describe('mountOfObject()', () => {
  test.each([
    ['with labels of its own', mountWith({ degraded: { since: AT, message: 'm' } }, { team: 'blue' })],
    ['with a warning', mountWith({ warnings: [{ type: 'DriverFilesMissing', message: 'm' }] })],
    ['without', mountWith()],
  ])('answers the mount %s, with what identifies the object', (_name, mount) => {
    expect(mountOfObject(shown(mount))).toEqual({
      ...mount,
      metadata: {
        ...mount.metadata,
        uid: 'object-1',
        resourceVersion: '77',
        creationTimestamp: '2026-03-01T10:00:00Z',
      },
    });
  });

  test('answers Pending for an object that has no status yet', () => {
    const { status: _, ...object } = shown(mountWith());
    expect(mountOfObject(object).status).toEqual({ phase: 'Pending', user: '', devices: [], slaves: [] });
  });
});
