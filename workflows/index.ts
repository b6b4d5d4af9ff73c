export { mountDevices } from './mount.ts';
export { reconcileMounts } from './reconcile.ts';
export { unmountDevices } from './unmount.ts';
