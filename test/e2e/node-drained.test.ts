import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { Ends } from './ended.ts';
import { kubectlOk } from './kubectl.ts';
import { nodeAt, productReady } from './nodes.ts';
import { expectNoPods } from './targets.ts';

const node = nodeAt(0);
const all = new Ends();
beforeAll(() => all.start([node]));
afterEach(() => all.deletePods());
afterAll(async () => {
  await all.stop();
  await expectNoPods();
});

test('the mount ends with its node, which is drained', async () => {
  const { mounted } = await all.mountedTarget(node.name);
  try {
    const options = ['--ignore-daemonsets', '--force', '--delete-emptydir-data', '--timeout=100s'];
    expect(await kubectlOk(['drain', node.name, ...options])).toContain('drained');
    await all.expectEnded(mounted, { status: 'COMPLETED', reason: 'TargetGone' });
  } finally {
    await kubectlOk(['uncordon', node.name]);
  }
  await productReady();
  await all.startOther(node.name);
  await all.expectFree(node.name);
});
