import { expect, test } from '@jest/globals';
import type { DeviceMount } from '../contract/device-mount.ts';
import { mountOfRequest } from '../contract/mount-of-request.ts';
import { ANNOTATIONS } from '../contract/names.ts';
import { MemoryCluster } from '../test/workflows/memory-cluster.ts';
import { FUSE, mountRequest, NAMESPACE } from '../test/workflows/requests.ts';
import { ClusterError } from './cluster.ts';
import { TargetAnnotations } from './target-annotations.ts';

const REF = { namespace: NAMESPACE, name: 'p' };
const NO_WATCH = { get: () => undefined };

/** Counts the changes that are asked for. */
class CountingCluster extends MemoryCluster {
  merges = 0;
  /** Comes before the next change. */
  before: () => void = () => undefined;

  override async mergePod(...args: Parameters<MemoryCluster['mergePod']>): Promise<void> {
    this.merges += 1;
    const { before } = this;
    this.before = () => undefined;
    before();
    // As over a network.
    await new Promise((resolve) => setImmediate(resolve));
    return super.mergePod(...args);
  }
}

function clusterWithTarget(): CountingCluster {
  const cluster = new CountingCluster();
  cluster.addNode('p', {});
  cluster.addTarget(NAMESPACE, 'p', 'p');
  return cluster;
}

function mountNamed(name: string, phase: 'Mounted' | 'Releasing' = 'Mounted'): DeviceMount {
  const devices = [{ id: `dev-${name}`, resource: FUSE, nodes: [] }];
  const identity = { uid: name, creationTimestamp: '', resourceVersion: '1' };
  return mountOfRequest(mountRequest('p', { name }), identity, { phase, devices, slaves: [] });
}

async function annotated(cluster: MemoryCluster): Promise<readonly string[]> {
  const text = (await cluster.getPod(REF))?.metadata?.annotations?.[ANNOTATIONS.devices] ?? '[]';
  return (JSON.parse(text) as { mount: string }[]).map(({ mount }) => mount).sort();
}

test('tells a pod of 50 mounts at once in two changes', async () => {
  const cluster = clusterWithTarget();
  const annotations = new TargetAnnotations(cluster, NO_WATCH);
  const names = Array.from({ length: 50 }, (_, index) => `m${index}`);
  const [first = '', ...others] = names;
  const onItsWay = Promise.withResolvers<void>();
  cluster.before = onItsWay.resolve;
  const showing = annotations.show(mountNamed(first));
  await onItsWay.promise;
  await Promise.all([showing, ...others.map((name) => annotations.show(mountNamed(name)))]);
  expect(await annotated(cluster)).toEqual([...names].sort());
  expect(cluster.merges).toBe(2);
});

test('shows the latest of what waits for one mount', async () => {
  const cluster = clusterWithTarget();
  const annotations = new TargetAnnotations(cluster, NO_WATCH);
  const mounts = [mountNamed('other'), mountNamed('m'), mountNamed('m', 'Releasing')];
  await Promise.all(mounts.map((mount) => annotations.show(mount)));
  expect(await annotated(cluster)).toEqual(['other']);
});

test('keeps what another process writes meanwhile', async () => {
  const cluster = clusterWithTarget();
  const [mine, theirs] = [new TargetAnnotations(cluster, NO_WATCH), new TargetAnnotations(cluster, NO_WATCH)];
  await Promise.all([mine.show(mountNamed('m')), theirs.show(mountNamed('n'))]);
  expect(await annotated(cluster)).toEqual(['m', 'n']);
});

test('a failure is told to all who waited together, and keeps nobody from the next change', async () => {
  const cluster = clusterWithTarget();
  const annotations = new TargetAnnotations(cluster, NO_WATCH);
  cluster.unwell = new ClusterError(503, 'ServiceUnavailable', 'away');
  const told = await Promise.allSettled(['m', 'n'].map((name) => annotations.show(mountNamed(name))));
  expect(told.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  cluster.unwell = undefined;
  await annotations.show(mountNamed('later'));
  expect(await annotated(cluster)).toEqual(['later']);
});

test('leaves another pod of the same name alone', async () => {
  const cluster = clusterWithTarget();
  const mount = mountNamed('m');
  const ofAnother = { ...mount, spec: { ...mount.spec, podUid: 'gone' } };
  await new TargetAnnotations(cluster, NO_WATCH).show(ofAnother);
  expect([cluster.merges, await annotated(cluster)]).toEqual([0, []]);
});
