import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { nodeWorkerPid } from './cluster.ts';
import { containerIdOf, deviceState } from './device-state.ts';
import { Ends, type Mounted } from './ended.ts';
import { getJson, kubectl, kubectlOk } from './kubectl.ts';
import { bringBack, nodeAt, productReady } from './nodes.ts';
import { busybox, deletePod, evictPod, FUSE, inPod, mountOk, unmount } from './pods.ts';
import { until } from './until.ts';

const all = new Ends();
beforeAll(() => all.start());
afterAll(() => all.stop());
afterEach(() => all.deletePods());

const ENDS = { status: 'COMPLETED', reason: 'TargetGone' } as const;

describe('the mount ends with its target, which', () => {
  test.each<[string, number, (mounted: Mounted) => Promise<unknown>]>([
    ['is deleted', 0, ({ pod }) => deletePod(pod)],
    ['is evicted', 1, ({ pod }) => evictPod(pod)],
    ['finishes', 2, ({ pod }) => inPod(pod, 'touch /tmp/done')],
  ])('%s', async (_name, index, end) => {
    const node = nodeAt(index).name;
    const waits = ['sh', '-c', 'until [ -e /tmp/done ]; do sleep 0.1; done'];
    const mounted = await all.mountedTarget(node, { restartPolicy: 'Never', containers: [busybox(waits)] });
    await end(mounted);
    await all.expectEnded(mounted.mounted, ENDS);
    await all.expectFree(node);
  });

  test('is replaced under its name', async () => {
    const node = nodeAt(1).name;
    const { pod, mounted, before } = await all.mountedTarget(node);
    const object = await getJson<{ metadata: object; spec: object }>(['pod', pod]);
    await deletePod(pod);
    const again = { apiVersion: 'v1', kind: 'Pod', metadata: { name: pod }, spec: object?.spec };
    await kubectlOk(['create', '-f', '-'], JSON.stringify(again));
    await kubectlOk(['wait', '--for=condition=Ready', `pod/${pod}`, '--timeout=60s']);
    await all.expectEnded(mounted, ENDS);
    expect(await deviceState(pod)).toEqual(before);
    const second = await mountOk(pod, FUSE, '&wait_second=30');
    expect(second.spec.podUid).not.toBe(mounted.spec.podUid);
    expect((await unmount(pod)).code).toBe(0);
    expect(await deviceState(pod)).toEqual(before);
  });

  test('is in a namespace that is deleted', async () => {
    const node = nodeAt(2).name;
    const namespace = 'ends-with-it';
    await kubectlOk(['create', 'namespace', namespace]);
    await until(
      'its service account',
      async () => (await getJson(['serviceaccount', 'default', '-n', namespace])) !== undefined,
    );
    const spec = {
      nodeName: node,
      terminationGracePeriodSeconds: 0,
      containers: [busybox(['sleep', '100000'])],
    };
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'web', namespace }, spec };
    await kubectlOk(['create', '-f', '-'], JSON.stringify(pod));
    await kubectlOk(['wait', '--for=condition=Ready', 'pod/web', '-n', namespace, '--timeout=60s']);
    const path = `/apis/device-mounter.io/v1alpha1/namespaces/${namespace}/pods/web/mount?device_type=HOSTDEV`;
    const body = JSON.stringify({ name: 'web-fuse', resources: { [FUSE]: '1' } });
    await kubectlOk(['replace', '--raw', path, '-f', '-'], body);
    await kubectlOk(['delete', 'namespace', namespace, '--timeout=60s']);
    const closed = await all.temporal.closed('web-fuse', namespace, 20_000);
    expect(closed).toMatchObject({ status: 'COMPLETED', mount: { status: { reason: 'TargetGone', slaves: [] } } });
    await all.expectFree(node);
  });
});

describe('the mount ends with its node, which', () => {
  test('is drained', async () => {
    const node = nodeAt(0).name;
    const { mounted } = await all.mountedTarget(node);
    try {
      await kubectlOk(['drain', node, '--ignore-daemonsets', '--force', '--delete-emptydir-data', '--timeout=100s']);
      await all.expectEnded(mounted, ENDS);
    } finally {
      await kubectlOk(['uncordon', node]);
    }
    await productReady();
    await all.startOther(node);
    await all.expectFree(node);
  });

  test('is gone with its kubelet, runtime and node worker', async () => {
    const node = nodeAt(1);
    const { mounted } = await all.mountedTarget(node.name);
    const containerId = await containerIdOf(mounted.spec.podName);
    try {
      await node.kubelet.stop('SIGKILL');
      await node.containerd.stop('SIGKILL');
      process.kill(await nodeWorkerPid(node), 'SIGKILL');
      await kubectlOk(['delete', 'node', node.name]);
      const closed = await all.temporal.closed(mounted.metadata.name, 'default', 150_000);
      expect(closed).toMatchObject({ status: 'COMPLETED', mount: { status: { reason: 'TargetGone' } } });
    } finally {
      await bringBack(node);
    }
    await all.expectEnded(mounted, ENDS);
    await until('the container to be gone', async () => {
      const { code } = await kubectl(['get', 'pod', mounted.spec.podName]);
      return code !== 0 && !(await node.ctr('containers', 'list', '--quiet')).includes(containerId);
    });
    await all.startOther(node.name);
    await all.expectFree(node.name);
  });
});
