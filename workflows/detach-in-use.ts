import { sleep } from '@temporalio/workflow';
import { fail } from '../contract/failures.ts';
import type { DetachResult } from '../contract/node-activities.ts';
import { deleteSlave } from './activities.ts';
import type { MadeSlave } from './slaves.ts';
import { nodeRetryDelayMs } from './timeouts.ts';

/** Of these each takes as long as the node needs to end processes. */
const MAX_ATTEMPTS = 10;

/**
 * Detaches by force what a mount has at its end. The node ends processes that use the devices only once their slave is ending,
 * and slaves must not free devices that are still used: so the slaves are told to end slowly in between.
 * @throws what `detach` throws
 */
export async function detachInUse(
  detach: () => Promise<DetachResult | undefined>,
  slaves: readonly MadeSlave[],
): Promise<void> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const detached = await detach();
    if (detached?.mounts.some(({ inUse }) => inUse) !== true) return;
    await Promise.all(slaves.map(endSlowly));
    if (attempt > 0) await sleep(nodeRetryDelayMs(attempt));
  }
  throw fail('Internal', 'Cannot detach: processes use the devices, and the node does not see that the slave pods end');
}

async function endSlowly(slave: MadeSlave): Promise<void> {
  const summary = `end slave ${slave.name}, which is in use, slowly`;
  await deleteSlave.executeWithOptions({ summary }, [{ ...slave, slowly: true }]);
}
