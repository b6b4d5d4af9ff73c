import { afterAll, afterEach, expect, test } from '@jest/globals';
import { nodeAt } from '../nodes.ts';
import { expectNoPods, Targets } from '../targets.ts';
import { answerAbout } from './patience.ts';

const targets = new Targets();
afterEach(() => targets.remove());
afterAll(expectNoPods);

test('a mount that waits for long is answered before kube-apiserver gives up, with a warning, and goes on', async () => {
  const { answer, tookMs } = await answerAbout(await targets.start(nodeAt(0).name));
  expect(answer).toMatchObject({ code: 202, json: { status: { phase: 'Pending' } } });
  expect(answer.headers['warning']).toMatch(/^299 - "wait_second is longer than 40 s/);
  expect(tookMs).toBeGreaterThan(35_000);
  expect(tookMs).toBeLessThan(45_000);
});
