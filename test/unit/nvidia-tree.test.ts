import { expect, test } from '@jest/globals';
import { DRIVER_NODES, procDevices, requireNoDriver } from '../node-worker/nvidia-tree.ts';

test('requireNoDriver() names the driver that an open would reach', () => {
  expect(() => requireNoDriver(DRIVER_NODES, procDevices())).toThrow('/proc/devices has "195 nvidia"');
});

test('requireNoDriver() does not mind block devices and other majors', () => {
  requireNoDriver(DRIVER_NODES, 'Character devices:\n  1 mem\n 51 other\n\nBlock devices:\n195 other\n');
});
