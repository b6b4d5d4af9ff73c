import { randomBytes } from 'node:crypto';
import { expect, test } from '@jest/globals';
import type { V1Pod } from '@kubernetes/client-node';
import type { Cluster, PodEvent } from '../../activities/cluster.ts';

export interface ClusterUnderTest {
  readonly cluster: Cluster;
  /** Where pods may be made. */
  readonly namespace: string;
}

/** Nobody schedules it, so that it stays as it is until somebody changes it. */
function podNamed(name: string, group: string): V1Pod {
  const containers = [{ name: 'main', image: 'localhost/pause:1' }];
  return { metadata: { name, labels: { group } }, spec: { schedulerName: 'nobody', containers } };
}

const nameOf = ({ metadata }: V1Pod): string => metadata?.name ?? '';
const unique = (): string => `table-${randomBytes(4).toString('hex')}`;
const versionOf = ({ metadata }: V1Pod): string => metadata?.resourceVersion ?? '';

/** Defines what every `Cluster` does, the real one and those that stand for it in tests. */
export function testCluster(underTest: () => ClusterUnderTest): void {
  const made = async (name: string, group: string): Promise<V1Pod> => {
    const { cluster, namespace } = underTest();
    return cluster.createPod(namespace, podNamed(name, group));
  };
  const removed = async (pod: V1Pod, uid = pod.metadata?.uid ?? ''): Promise<void> => {
    const { cluster, namespace } = underTest();
    await cluster.deletePod({ namespace, name: nameOf(pod) }, uid, 0);
  };

  test('answers nothing about what is not there', async () => {
    const { cluster, namespace } = underTest();
    const ref = { namespace, name: unique() };
    const answers = [cluster.getPod(ref), cluster.getNode(ref.name), cluster.getLease(namespace, ref.name)];
    expect(await Promise.all(answers)).toEqual([undefined, undefined, undefined]);
    const claims = [{ resourceClaimName: ref.name }, { resourceClaimTemplateName: ref.name }];
    const there = claims.map((claim) => cluster.hasClaim(namespace, { name: 'own', ...claim }));
    expect(await Promise.all(there)).toEqual([false, false]);
    await cluster.deletePod(ref, 'any', 0);
    await expect(cluster.mergePod(ref, {})).rejects.toMatchObject({ name: 'ClusterError', code: 404 });
  });

  test('makes a pod once', async () => {
    const { cluster, namespace } = underTest();
    const name = unique();
    const pod = await made(name, name);
    expect(pod.metadata).toMatchObject({
      namespace,
      name,
      uid: expect.any(String),
      resourceVersion: expect.any(String),
    });
    const again = { name: 'ClusterError', code: 409, reason: 'AlreadyExists' };
    await expect(made(name, name)).rejects.toMatchObject(again);
    expect((await cluster.getPod({ namespace, name }))?.metadata?.uid).toBe(pod.metadata?.uid);
    await removed(pod);
  });

  test('deletes the pod that is meant, and no other of its name', async () => {
    const { cluster, namespace } = underTest();
    const name = unique();
    const pod = await made(name, name);
    await removed(pod, '00000000-0000-4000-8000-000000000000');
    expect(await cluster.getPod({ namespace, name })).toBeDefined();
    await removed(pod);
    expect(await cluster.getPod({ namespace, name })).toBeUndefined();
  });

  test('merges annotations, and refuses what was made of an older pod', async () => {
    const { cluster, namespace } = underTest();
    const name = unique();
    const pod = await made(name, name);
    const merge = (resourceVersion: string, annotations: object) =>
      cluster.mergePod({ namespace, name }, { metadata: { resourceVersion, annotations } });
    await merge(versionOf(pod), { 'example.com/a': '1', 'example.com/b': '2' });
    await expect(merge(versionOf(pod), {})).rejects.toMatchObject({
      name: 'ClusterError',
      code: 409,
      reason: 'Conflict',
    });
    const now = await cluster.getPod({ namespace, name });
    await merge(versionOf(now ?? {}), { 'example.com/a': null });
    expect((await cluster.getPod({ namespace, name }))?.metadata?.annotations).toEqual({ 'example.com/b': '2' });
    await removed(pod);
  });

  test('lists pods by their labels, in one namespace and in all', async () => {
    const { cluster, namespace } = underTest();
    const group = unique();
    const pods = [await made(`${group}-1`, group), await made(`${group}-2`, group), await made(`${group}-3`, 'other')];
    for (const where of [namespace, undefined]) {
      const { items } = await cluster.listPods(`group=${group}`, where);
      expect(items.map(nameOf).toSorted()).toEqual([`${group}-1`, `${group}-2`]);
    }
    expect((await cluster.listPods(`group=${group}`, 'no-such-namespace')).items).toEqual([]);
    await Promise.all(pods.map((pod) => removed(pod)));
  });

  test('lists the pods of a node, whatever they are labelled', async () => {
    const { cluster, namespace } = underTest();
    const node = unique();
    const { spec, ...pod } = podNamed(`${node}-1`, 'any');
    const containers = spec?.containers ?? [];
    const here = await cluster.createPod(namespace, { ...pod, spec: { nodeName: node, containers } });
    const elsewhere = await made(`${node}-2`, 'any');
    expect((await cluster.podsOn(node)).map(nameOf)).toEqual([`${node}-1`]);
    await Promise.all([here, elsewhere].map((pod) => removed(pod)));
  });

  test('tells what has happened since a list, until it is told to end', async () => {
    const { cluster, namespace } = underTest();
    const group = unique();
    const before = await made(`${group}-1`, group);
    const { resourceVersion } = await cluster.listPods(`group=${group}`, namespace);
    const other = await made(`${group}-2`, 'other');
    const after = await made(`${group}-3`, group);
    const annotations = { 'example.com/a': '1' };
    await cluster.mergePod({ namespace, name: nameOf(before) }, { metadata: { annotations } });
    await removed(after);
    const ended = new AbortController();
    const events: string[] = [];
    for await (const event of cluster.watchPods(`group=${group}`, resourceVersion, ended.signal, namespace)) {
      if (!isBeside(event)) events.push(`${event.type} ${nameOf(event.pod)}`);
      if (event.type === 'DELETED') ended.abort();
    }
    expect(events).toEqual([`ADDED ${group}-3`, `MODIFIED ${group}-1`, `DELETED ${group}-3`]);
    await Promise.all([before, other].map((pod) => removed(pod)));
  });
}

/** What one cluster tells and another does not: newer versions, and that a pod is being deleted which is gone then. */
function isBeside({ type, pod }: PodEvent): boolean {
  return type === 'BOOKMARK' || (type === 'MODIFIED' && pod.metadata?.deletionTimestamp !== undefined);
}
