import { afterAll, afterEach, expect, test } from '@jest/globals';
import { PRODUCT_NAMESPACE, podsOf } from '../daemon-sets.ts';
import { containerIdOf, deviceState } from '../device-state.ts';
import { exec, type Outcome } from '../exec.ts';
import { laneNode } from '../lane.ts';
import { FUSE, mountOk } from '../pods.ts';
import { expectNoPods, Targets } from '../targets.ts';

const node = laneNode().name;
const targets = new Targets();
afterEach(() => targets.remove());
afterAll(expectNoPods);

/** Runs `device-mounter-node inspect` in the node worker of this node, as docs/guides/inspect-a-node.md says. */
async function inspect(containerId: string): Promise<Outcome> {
  const [worker] = await podsOf('device-mounter-node', node);
  return exec(worker?.metadata.name ?? '', ['device-mounter-node', 'inspect', containerId], PRODUCT_NAMESPACE);
}

test('inspect says what is ours, as the kernel does, and changes nothing', async () => {
  const pod = await targets.start(node);
  const { metadata } = await mountOk(pod, FUSE);
  const before = await deviceState(pod);
  const { code, stdout } = await inspect(`containerd://${await containerIdOf(pod)}`);
  expect(stdout).toMatch(/^agreement +yes$/m);
  const ours = `^/dev/fuse +c 10:229 .*ours: mount ${metadata.namespace}/${metadata.name} of `;
  expect(stdout).toMatch(new RegExp(ours, 'm'));
  expect(code).toBe(0);
  expect(await deviceState(pod)).toEqual(before);
});

test('inspect of a container that is not there says so', async () => {
  const { code, stderr } = await inspect('f'.repeat(64));
  expect(code).toBe(2);
  expect(stderr).toMatch(/no cgroup/);
});
