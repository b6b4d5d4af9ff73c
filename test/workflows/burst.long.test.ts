import { afterAll, beforeAll, test } from '@jest/globals';
import { testBurst } from './burst.ts';
import { Harness } from './harness.ts';

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterAll(() => harness.stop());

test('a mount is made 300 times at once on one node', () => testBurst(harness, 300), 300_000);
