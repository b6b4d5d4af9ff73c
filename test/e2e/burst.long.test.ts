import { afterAll, test } from '@jest/globals';
import { BURST_TIMEOUT_MS, Burst } from './burst.ts';
import { expectNoPods } from './targets.ts';

const burst = new Burst(6, 50);
afterAll(async () => {
  await burst.clear();
  await expectNoPods();
}, BURST_TIMEOUT_MS);

test('300 mounts at once on one node queue, and all succeed', () => burst.mountsMs(), 3 * BURST_TIMEOUT_MS);
