import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { nodeWorkerPid } from './cluster.ts';
import { containerIdOf } from './device-state.ts';
import { Ends } from './ended.ts';
import { ask, find } from './kube.ts';
import { bringBack, nodeAt } from './nodes.ts';
import { podPath } from './pods.ts';
import { expectNoPods } from './targets.ts';
import { until } from './until.ts';

const node = nodeAt(1);
const all = new Ends();
beforeAll(() => all.start([node]));
afterEach(() => all.deletePods());
afterAll(async () => {
  await all.stop();
  await expectNoPods();
});

const ENDS = { status: 'COMPLETED', reason: 'TargetGone' } as const;

/** Kubernetes itself looks for pods of lost nodes every 20 s and gives a node 40 s to return. */
const COLLECTED_MS = 150_000;

test('the mount ends with its node, which is gone with its kubelet, runtime and node worker', async () => {
  const { mounted } = await all.mountedTarget(node.name);
  const containerId = await containerIdOf(mounted.spec.podName);
  try {
    await node.kubelet.stop('SIGKILL');
    await node.containerd.stop('SIGKILL');
    process.kill(await nodeWorkerPid(node), 'SIGKILL');
    await ask('DELETE', `/api/v1/nodes/${node.name}`);
    const closed = await all.temporal.closed(mounted.metadata.name, 'default', COLLECTED_MS);
    expect(closed).toMatchObject({ status: 'COMPLETED', mount: { status: { reason: 'TargetGone' } } });
  } finally {
    await bringBack(node);
  }
  await all.expectEnded(mounted, ENDS);
  await until('the container to be gone', async () => {
    const isGone = (await find(podPath(mounted.spec.podName))) === undefined;
    return isGone && !(await node.ctr('containers', 'list', '--quiet')).includes(containerId);
  });
  await all.startOther(node.name);
  await all.expectFree(node.name);
}, 300_000);
