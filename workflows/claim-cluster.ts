import { condition } from '@temporalio/workflow';

/**
 * Does nothing for as long as it is open: its ID is the name of a cluster, its memo says whose that is, and Temporal starts no second one of
 * the same ID. Whoever takes a name over terminates it.
 */
export async function claimCluster(): Promise<void> {
  await condition(() => false);
}
