import type { MountRef } from '../../contract/node-activities.ts';
import type { AllocatedDevice } from '../drivers/driver.ts';
import type { ContainerHandle, Grant } from '../kernel/engine.ts';
import { keyOf, type MountRecord, type RecordedDevice } from '../state/mount-record.ts';
import { grantsOf } from '../state/mount-store.ts';
import type { NodeDependencies } from './dependencies.ts';

type Deps = Pick<NodeDependencies, 'engine' | 'store'>;

/** Plans a grant for each device, each with those before it as others: devices of one mount may share nodes. */
export function planDevices(
  { engine, store }: Deps,
  handle: ContainerHandle,
  mount: MountRef,
  devices: readonly AllocatedDevice[],
): readonly RecordedDevice[] {
  const planned: RecordedDevice[] = [];
  for (const { id, resource, nodes } of devices) {
    const others = [...grantsOf(store, handle.containerId, mount), ...planned.map(({ grant }) => grant)];
    const owner = `${keyOf(mount)} ${resource} ${id}`;
    planned.push({ id, resource, grant: engine.plan(handle, owner, nodes, others) });
  }
  return planned;
}

/** Gives the container all that the record says. */
export async function grantDevices(deps: Deps, handle: ContainerHandle, record: MountRecord): Promise<void> {
  for (const { grant } of record.devices) {
    await deps.engine.grant(handle, grant, othersOf(deps, record, record.devices, grant));
  }
}

/** Takes back `devices` of the record; the others of the record stay. Never begun or done already: succeeds. */
export async function revokeDevices(
  deps: Deps,
  handle: ContainerHandle,
  record: MountRecord,
  devices: readonly RecordedDevice[] = record.devices,
): Promise<void> {
  let left = record.devices;
  for (const device of devices) {
    left = left.filter((other) => other !== device);
    await deps.engine.revoke(handle, device.grant, othersOf(deps, record, left, device.grant));
  }
}

function othersOf(
  { store }: Deps,
  record: MountRecord,
  own: readonly RecordedDevice[],
  except: Grant,
): readonly Grant[] {
  const grants = own.map(({ grant }) => grant).filter((grant) => grant !== except);
  return [...grantsOf(store, record.containerId, record.mount), ...grants];
}
