import { beforeEach, describe, expect, test } from '@jest/globals';
import type { DeviceMount } from '../contract/device-mount.ts';
import { type DeviceMountObject, objectOf } from '../contract/device-mount-object.ts';
import { MemoryCluster } from '../test/workflows/memory-cluster.ts';
import { ClusterError } from './cluster.ts';
import type { Dependencies } from './dependencies.ts';
import { isUnconfirmed, settleMount, whyNotShown } from './settle-mount.ts';

const MINUTE_MS = 60_000;
const NOW_MS = Date.parse('2026-01-01T00:00:00Z');
const CLUSTER = 'c';
const REF = { namespace: 'apps', name: 'm' };

const device = { resource: 'x/fuse', id: 'fuse-0', nodes: [] };
const slave = { namespace: 'apps', name: 'm-slave', uid: 'u-slave' };

function mountOf(ageMs: number, status: Partial<DeviceMount['status']> = {}): DeviceMount {
  return {
    apiVersion: 'device-mounter.io/v1alpha1',
    kind: 'DeviceMount',
    metadata: { ...REF, uid: 'u-mount', creationTimestamp: '', resourceVersion: String(NOW_MS - ageMs) },
    spec: {
      podName: 'p',
      podUid: 'u-pod',
      container: 'c',
      resources: { 'x/fuse': 1 },
    } as unknown as DeviceMount['spec'],
    status: { phase: 'Failed', reason: 'Terminated', user: 'jane', devices: [], slaves: [], ...status },
  };
}

/** The object of a mount, shown so many milliseconds ago. */
function shownOf(mount: DeviceMount, ageMs: number): DeviceMountObject {
  return objectOf(mount, { cluster: CLUSTER, at: new Date(NOW_MS - ageMs).toISOString() });
}

let cluster: MemoryCluster;
beforeEach(() => {
  cluster = new MemoryCluster();
});

/** With the closed workflow of `mount`. */
function depsOf(mount?: DeviceMount): Dependencies {
  const owner = mount && { open: false, firstRunId: mount.metadata.uid, mount };
  const owners = { describe: async () => owner };
  return { cluster, owners, clusterName: CLUSTER, now: () => new Date(NOW_MS) } as unknown as Dependencies;
}

async function store(object: DeviceMountObject): Promise<void> {
  const made = await cluster.createMount(object);
  // As kube-apiserver does it: the status as it is given.
  await cluster.replaceMountStatus({ ...made, ...(object.status && { status: object.status }) });
}

describe('settleMount()', () => {
  test('clears what the object of a terminated mount shows, once no slave of it is left', async () => {
    const mount = mountOf(MINUTE_MS, { devices: [device], slaves: [slave] });
    await store(shownOf(mount, MINUTE_MS));
    await settleMount(depsOf(mount), REF);
    expect(await cluster.getMount(REF)).toMatchObject({ status: { phase: 'Failed', devices: [], slaves: [] } });
    const once = await cluster.getMount(REF);
    await settleMount(depsOf(mount), REF);
    expect(await cluster.getMount(REF)).toEqual(once);
  });

  test.each([
    ['keeps what shows since nine minutes an end of long ago', 9, true],
    ['removes what shows an end since ten minutes', 10, false],
  ])('%s', async (_, minutes, stays) => {
    const mount = mountOf(60 * MINUTE_MS);
    await store(shownOf(mount, minutes * MINUTE_MS));
    await settleMount(depsOf(), REF);
    expect((await cluster.getMount(REF)) !== undefined).toBe(stays);
  });

  test.each([
    ['removes what cannot be written once the end is ten minutes old', 10, 422, false],
    ['keeps what cannot be written before', 9, 422, true],
    ['keeps what cannot be written now', 10, 503, true],
  ])('%s', async (_, minutes, code, stays) => {
    const before = mountOf(60 * MINUTE_MS, { phase: 'Mounted' });
    await store(shownOf(before, MINUTE_MS));
    cluster.refuseMounts = new ClusterError(code, '', 'no');
    const settling = settleMount(depsOf(mountOf(minutes * MINUTE_MS)), REF);
    if (stays) await expect(settling).rejects.toThrow('no');
    else await settling;
    expect((await cluster.getMount(REF)) !== undefined).toBe(stays);
  });
});

describe('a clock that is ahead', () => {
  test.each([
    ['a change of just now', 1_000, undefined],
    ['a change of long ago', MINUTE_MS, 'it has no object'],
    ['a change of the future', -MINUTE_MS, 'it has no object'],
  ])('whyNotShown() of %s', (_, ageMs, why) => {
    expect(whyNotShown(depsOf(), mountOf(ageMs, { phase: 'Mounted' }), undefined)).toBe(why);
  });

  test.each([
    ['long ago', 10 * MINUTE_MS, true],
    ['just now', 1_000, false],
    ['in the future', -MINUTE_MS, true],
  ])('isUnconfirmed() of what was confirmed %s', (_, ageMs, is) => {
    expect(isUnconfirmed(depsOf(), shownOf(mountOf(0), ageMs))).toBe(is);
  });
});
