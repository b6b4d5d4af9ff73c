import { randomBytes } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { type DeviceMountObject, objectOf } from '../../contract/device-mount-object.ts';
import { mountOfRequest } from '../../contract/mount-of-request.ts';
import type { ClusterUnderTest } from './cluster-table.ts';
import { mountRequest } from './requests.ts';

/** A mount of a pod that need not be there; nobody collects what it owns unless it was. */
function objectNamed(namespace: string, name: string, group: string): DeviceMountObject {
  const request = mountRequest('p', { name, labels: { group } });
  const at = new Date(1_000);
  const identity = { uid: 'm1', creationTimestamp: at.toISOString(), resourceVersion: '1000' };
  const mount = mountOfRequest(
    { ...request, target: { ...request.target, namespace } },
    { ...identity },
    { phase: 'Pending', devices: [], slaves: [] },
  );
  const object = objectOf(mount, { cluster: 'test', at: at.toISOString() });
  return {
    ...object,
    metadata: { ...object.metadata, labels: { ...object.metadata.labels, group }, ownerReferences: [] },
  };
}

const unique = (): string => `table-${randomBytes(4).toString('hex')}`;
const CONFLICT = { name: 'ClusterError', code: 409, reason: 'Conflict' };

/** Defines what every `Cluster` does with DeviceMounts: the real one by the rights of the control worker. */
export function testMounts(underTest: () => ClusterUnderTest): void {
  const made = async (name: string, group = name): Promise<DeviceMountObject> => {
    const { cluster, namespace } = underTest();
    return cluster.createMount(objectNamed(namespace, name, group));
  };
  const removed = async ({ metadata: { namespace, name, uid = '' } }: DeviceMountObject): Promise<void> =>
    underTest().cluster.deleteMount({ namespace, name }, { uid });

  test('answers nothing about an object that is not there', async () => {
    const { cluster, namespace } = underTest();
    const ref = { namespace, name: unique() };
    expect(await cluster.getMount(ref)).toBeUndefined();
    await cluster.deleteMount(ref, { uid: 'any' });
    const absent = { name: 'ClusterError', code: 404 };
    const object = objectNamed(namespace, ref.name, 'x');
    const replaced = { ...object, metadata: { ...object.metadata, resourceVersion: '1' } };
    await expect(cluster.replaceMount(replaced)).rejects.toMatchObject(absent);
    await expect(cluster.replaceMountStatus(replaced)).rejects.toMatchObject(absent);
  });

  test('makes an object once, without its status', async () => {
    const { cluster, namespace } = underTest();
    const name = unique();
    const object = await made(name);
    const identity = { uid: expect.any(String), resourceVersion: expect.any(String), generation: 1 };
    expect(object).toMatchObject({ metadata: { namespace, name, ...identity }, spec: { podName: 'p' } });
    expect(object.status).toBeUndefined();
    await expect(made(name)).rejects.toMatchObject({ name: 'ClusterError', code: 409, reason: 'AlreadyExists' });
    expect(await cluster.getMount({ namespace, name })).toEqual(object);
    await removed(object);
  });

  test('replaces the status and the rest each by itself, and neither of an older object', async () => {
    const { cluster, namespace } = underTest();
    const name = unique();
    const first = await made(name);
    const { status, spec } = objectNamed(namespace, name, name);
    if (status === undefined) throw new Error('no status');
    const shown = await cluster.replaceMountStatus({ ...first, spec: { ...spec, container: 'other' }, status });
    expect(shown).toMatchObject({ spec: { container: 'main' }, status: { phase: 'Pending', mountUid: 'm1' } });
    await expect(cluster.replaceMountStatus({ ...first, status })).rejects.toMatchObject(CONFLICT);
    await expect(cluster.replaceMount(first)).rejects.toMatchObject(CONFLICT);
    const leased = { ...shown, spec: { ...spec, leaseSeconds: 60 }, status: { ...status, phase: 'Mounted' as const } };
    const replaced = await cluster.replaceMount(leased);
    expect(replaced.metadata).not.toHaveProperty('managedFields');
    expect(replaced).toMatchObject({ spec: { leaseSeconds: 60 }, status: { phase: 'Pending' } });
    expect([shown.metadata.generation, replaced.metadata.generation]).toEqual([1, 2]);
    await removed(replaced);
  });

  test('deletes the object that is meant, and no other of its name', async () => {
    const { cluster, namespace } = underTest();
    const name = unique();
    const object = await made(name);
    const { uid = '' } = object.metadata;
    await cluster.deleteMount({ namespace, name }, { uid: '00000000-0000-4000-8000-000000000000' });
    await cluster.deleteMount({ namespace, name }, { uid, resourceVersion: '1' });
    expect(await cluster.getMount({ namespace, name })).toBeDefined();
    await removed(object);
    expect(await cluster.getMount({ namespace, name })).toBeUndefined();
  });

  test('lists the objects of all namespaces page by page', async () => {
    const { cluster } = underTest();
    const group = unique();
    const objects = [await made(`${group}-1`, group), await made(`${group}-2`, group)];
    const names: string[] = [];
    let next = '';
    do {
      const page = await cluster.pageOfMounts(next);
      names.push(...page.items.map(({ metadata }) => metadata.name));
      next = page.next;
    } while (next !== '');
    expect(names.filter((name) => name.startsWith(group))).toEqual([`${group}-1`, `${group}-2`]);
    await Promise.all(objects.map(removed));
  });

  test('lists objects by their labels, in one namespace and in all', async () => {
    const { cluster, namespace } = underTest();
    const group = unique();
    const objects = [
      await made(`${group}-1`, group),
      await made(`${group}-2`, group),
      await made(`${group}-3`, 'other'),
    ];
    for (const where of [namespace, undefined]) {
      const { items } = await cluster.listMounts(`group=${group}`, where);
      expect(items.map(({ metadata }) => metadata.name).toSorted()).toEqual([`${group}-1`, `${group}-2`]);
    }
    expect((await cluster.listMounts(`group=${group}`, 'no-such-namespace')).items).toEqual([]);
    await Promise.all(objects.map(removed));
  });
}
