import type { DeviceTypeName } from '../../contract/device-types.ts';
import { WHOLE } from '../device-plugin/npus.ts';
import { FUSE, KMSG } from '../e2e/pods.ts';
import { VGPU } from '../node-worker/vgpu.ts';

interface Kind {
  readonly deviceType: DeviceTypeName;
  /** What a mount asks for besides one of it. */
  readonly measures: Readonly<Record<string, string>>;
}

/** What clients ask for. The last two bring files of the node. */
export const RESOURCES = {
  [FUSE]: { deviceType: 'HOSTDEV', measures: {} },
  [KMSG]: { deviceType: 'HOSTDEV', measures: {} },
  [VGPU]: { deviceType: 'VOLCANO_VGPU', measures: { 'volcano.sh/vgpu-memory': '1000' } },
  [WHOLE]: { deviceType: 'ASCEND_NPU', measures: {} },
} as const satisfies Record<string, Kind>;
export type Resource = keyof typeof RESOURCES;

export const TYPES: ReadonlySet<DeviceTypeName> = new Set(Object.values(RESOURCES).map(({ deviceType }) => deviceType));

/** How often each is asked for. */
export const WEIGHTS: Readonly<Record<Resource, number>> = { [FUSE]: 14, [KMSG]: 3, [VGPU]: 2, [WHOLE]: 2 };
