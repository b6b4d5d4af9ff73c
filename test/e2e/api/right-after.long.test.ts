import { afterAll, beforeAll, test } from '@jest/globals';
import { nodeAt } from '../nodes.ts';
import { expectNoPods, Targets } from '../targets.ts';
import { foundRightAfter } from './right-after.ts';

const targets = new Targets();
let pods: readonly string[];
beforeAll(async () => {
  pods = await Promise.all(Array.from({ length: 8 }, (_, index) => targets.start(nodeAt(index).name)));
});
afterAll(async () => {
  await targets.remove();
  await expectNoPods();
});

test('200 times of 200, an unmount finds a mount that the other replica has just accepted', async () => {
  await Promise.all(pods.map((pod) => foundRightAfter(pod, 25)));
}, 600_000);
