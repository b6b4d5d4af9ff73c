import type { DeviceTypeName } from '../../contract/device-types.ts';
import { fail } from '../../contract/failures.ts';
import type { DeviceDriver } from './driver.ts';
import { hostdev } from './hostdev.ts';

const DRIVERS: Readonly<Partial<Record<DeviceTypeName, DeviceDriver>>> = { HOSTDEV: hostdev };

/** @throws Invalid for a type that this node worker does not know yet */
export function driverOf(deviceType: DeviceTypeName): DeviceDriver {
  const driver = DRIVERS[deviceType];
  if (driver !== undefined) return driver;
  throw fail('Invalid', `Cannot attach devices of type "${deviceType}": this node worker does not know it`);
}
