/**
 * Workflows of mounts that are open were begun by earlier releases and go on with this code. A change of the order or kind of
 * their steps goes behind `patched('<change>')`, in two releases (docs/decisions/0019-a-new-way-comes-in-two-releases.md), with
 * the old way kept; the histories in `test/workflows/histories` show whether one was missed. Record a new shape with
 * `UPDATE_HISTORIES=1 npm run test:workflows -- histories`.
 */
export { claimCluster } from './claim-cluster.ts';
export { claimKey } from './claim-key.ts';
export { mountDevices } from './mount.ts';
export { reconcileMounts } from './reconcile.ts';
export { unmountDevices } from './unmount.ts';
