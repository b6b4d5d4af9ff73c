import { patched } from '@temporalio/workflow';
import * as now from '../../../workflows/mount.ts';

export { claimCluster } from '../../../workflows/claim-cluster.ts';
export { claimKey } from '../../../workflows/claim-key.ts';
export { unmountDevices } from '../../../workflows/unmount.ts';

/** Of a release in which mounts go another way from their first step on. */
export function mountDevices(input: Parameters<typeof now.mountDevices>[0]): ReturnType<typeof now.mountDevices> {
  patched('another-way');
  return now.mountDevices(input);
}
