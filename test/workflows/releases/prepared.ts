import { patched, workflowInfo } from '@temporalio/workflow';
import * as now from '../../../workflows/mount.ts';

export { claimCluster } from '../../../workflows/claim-cluster.ts';
export { claimKey } from '../../../workflows/claim-key.ts';
export { unmountDevices } from '../../../workflows/unmount.ts';

/** Of the release before `next.ts`: it repeats that way, and does not go it by itself. */
export function mountDevices(input: Parameters<typeof now.mountDevices>[0]): ReturnType<typeof now.mountDevices> {
  if (workflowInfo().unsafe.isReplaying) patched('another-way');
  return now.mountDevices(input);
}
