import { expect, test } from '@jest/globals';
import { procDevices, requireNoDriver } from '../node-worker/nvidia-tree.ts';

test('requireNoDriver() names the driver that an open would reach', () => {
  expect(() => requireNoDriver(procDevices())).toThrow('/proc/devices has "195 nvidia"');
});

test('requireNoDriver() does not mind block devices and other majors', () => {
  requireNoDriver('Character devices:\n  1 mem\n 51 other\n\nBlock devices:\n195 other\n');
});
