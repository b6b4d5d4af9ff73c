import { afterAll, afterEach, expect, test } from '@jest/globals';
import { restartTemporal } from './cluster.ts';
import { deviceState } from './device-state.ts';
import { nodeAt } from './nodes.ts';
import { KMSG, mount, slavesGone, unmount } from './pods.ts';
import { type Begun, settled } from './settled.ts';
import { expectNoPods, Targets } from './targets.ts';

/** How long each mount has gone on when Temporal is killed: from before its start to after its end. */
const MOMENTS_MS = [0, 20, 40, 60, 90, 120, 150, 200, 300, 500];

const targets = new Targets();
afterEach(() => targets.remove());
afterAll(expectNoPods);

const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });

test('Temporal killed at any moment of a mount and started again: each is mounted or undone', async () => {
  const longestMs = Math.max(...MOMENTS_MS);
  const begun = await Promise.all(
    MOMENTS_MS.map(async (momentMs, index): Promise<Begun> => {
      const pod = await targets.start(nodeAt(index).name);
      return { pod, name: `killed-${momentMs}-${pod}`, device: '/dev/kmsg', before: await deviceState(pod) };
    }),
  );
  const mounting = begun.map(async ({ pod, name }, index) => {
    await pause(longestMs - (MOMENTS_MS[index] ?? 0));
    // Whether there is an answer, and which one, depends on the moment.
    await mount(pod, KMSG, '&wait_second=20', { name }).catch(() => undefined);
  });
  await pause(longestMs);
  await restartTemporal();
  await Promise.all(mounting);
  await Promise.all(
    begun.map(async (each) => {
      // 202 where the workers, whose polls have failed meanwhile, take it up later.
      if ((await settled(each)) === 'mounted') expect([200, 202]).toContain((await unmount(each.pod)).status);
      await slavesGone(each.pod);
      expect(await deviceState(each.pod)).toEqual(each.before);
    }),
  );
});
