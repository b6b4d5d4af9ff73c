export { mountDevices } from './mount.ts';
export { unmountDevices } from './unmount.ts';
