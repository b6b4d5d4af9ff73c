import type { DeviceTypeName } from '../../contract/device-types.ts';
import { fail } from '../../contract/failures.ts';
import { ascendNpu } from './ascend-npu.ts';
import type { DeviceDriver } from './driver.ts';
import { generic } from './generic.ts';
import { hostdev } from './hostdev.ts';
import { nvidiaGpu } from './nvidia-gpu.ts';
import { volcanoVgpu } from './volcano-vgpu.ts';

const DRIVERS: Readonly<Record<DeviceTypeName, DeviceDriver>> = {
  HOSTDEV: hostdev,
  ASCEND_NPU: ascendNpu,
  NVIDIA_GPU: nvidiaGpu,
  VOLCANO_VGPU: volcanoVgpu,
  GENERIC: generic,
};

/** @throws Invalid for a type of a later release */
export function driverOf(deviceType: DeviceTypeName): DeviceDriver {
  if (Object.hasOwn(DRIVERS, deviceType)) return DRIVERS[deviceType];
  throw fail('Invalid', `Cannot attach devices of type "${deviceType}": this node worker does not know it`);
}
