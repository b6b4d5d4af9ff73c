import { fail } from '../../contract/failures.ts';
import type { MountRef } from '../../contract/node-activities.ts';
import { type MountRequest, wantsExpansion } from '../../contract/requests.ts';
import type { DeviceDriver, Finding } from '../drivers/driver.ts';
import { driverOf } from '../drivers/drivers.ts';
import { hostOf } from '../drivers/host.ts';
import type { ContainerHandle, GpuLimit, RegionPlace } from '../kernel/engine.ts';
import type { Allocation } from '../kubelet/checkpoint.ts';
import type { RecordedDevice } from '../state/mount-record.ts';
import { tracesOf } from '../state/mount-store.ts';
import type { NodeDependencies } from './dependencies.ts';

type Limits = NonNullable<DeviceDriver['limits']>;

/** What a container has of vGPUs without our help. */
interface Own {
  readonly limits: readonly GpuLimit[];
  readonly region: RegionPlace | undefined;
}

/**
 * Notes with each device what it adds to the limits of the container, where something keeps those: the container's own region, or the
 * one that is mounted with the device.
 * @throws NotAllocated and ContainerUnsupported for an expansion of what the container does not have
 */
export async function withLimits(
  deps: NodeDependencies,
  handle: ContainerHandle,
  mount: MountRef,
  request: MountRequest,
  findings: readonly Finding[],
  devices: readonly RecordedDevice[],
): Promise<readonly RecordedDevice[]> {
  const { limits } = driverOf(request.deviceType);
  if (limits === undefined) return devices;
  const own = await ownOf(deps, limits, request);
  const adds = findings.flatMap(({ allocations }) => allocations.flatMap((one) => limits.of(one, hostOf(deps))));
  const limited = devices.map((device) => limitedDevice(limits, device, own, adds));
  if (wantsExpansion(request)) {
    const others = tracesOf(deps.store, handle.containerId, mount).flatMap((grant) => grant.limits?.adds ?? []);
    requireExpandable(request, new Set([...own.limits, ...others].map(({ gpu }) => gpu)), limited);
  }
  return limited;
}

function limitedDevice(limits: Limits, device: RecordedDevice, own: Own, adds: readonly GpuLimit[]): RecordedDevice {
  const added = adds.find(({ gpu }) => gpu === device.id);
  const file = device.grant.files?.find(({ path, name }) => path === limits.path && name === 'made')?.from;
  const region = own.region ?? (file === undefined ? undefined : { file });
  if (region === undefined || added === undefined) return device;
  return { ...device, grant: { ...device.grant, limits: { adds: added, before: own.limits, region } } };
}

async function ownOf(deps: NodeDependencies, limits: Limits, { target, resources }: MountRequest): Promise<Own> {
  const isOwn = ({ podUid, container, resource }: Allocation): boolean =>
    podUid === target.podUid && container === target.container && Object.hasOwn(resources, resource);
  const allocations = (await deps.kubelet.allocations()).filter(isOwn);
  const [region] = allocations.flatMap((allocation) => limits.regionOf(allocation) ?? []);
  return {
    limits: allocations.flatMap((allocation) => limits.of(allocation, hostOf(deps))),
    region: region && { folder: `${deps.hostRoot}${region.folder}`, name: region.name },
  };
}

function requireExpandable(
  { target, name }: MountRequest,
  had: ReadonlySet<string>,
  devices: readonly RecordedDevice[],
): void {
  const what = `Cannot expand the vGPU of container "${target.container}" by mount "${name}"`;
  if (had.size === 0) throw fail('ContainerUnsupported', `${what}: it has none. Leave out the annotation to mount one`);
  const elsewhere = devices.filter(({ id }) => !had.has(id)).map(({ id }) => id);
  if (elsewhere.length > 0)
    throw fail(
      'NotAllocated',
      `${what}: it is on ${[...had].join(', ')}, the scheduler has chosen ${elsewhere.join(', ')}. ` +
        'Name the GPU in the annotation nvidia.com/use-gpuuuid',
    );
  if (devices.some(({ grant }) => grant.limits === undefined))
    throw fail('ContainerUnsupported', `${what}: nothing that is known keeps its limits`);
}
