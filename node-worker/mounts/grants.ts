import type { MountRef } from '../../contract/node-activities.ts';
import type { AllocatedDevice } from '../drivers/driver.ts';
import type { ContainerHandle, Grant, GrantReport } from '../kernel/engine.ts';
import { keyOf, type MountRecord, type RecordedDevice } from '../state/mount-record.ts';
import { grantsOf, tracesOf } from '../state/mount-store.ts';
import type { NodeDependencies } from './dependencies.ts';
import { refuseContainersOfLater } from './later-release.ts';

type Deps = Pick<NodeDependencies, 'engine' | 'store'>;

/** Plans a grant for each device, each with those before it as others: devices of one mount may share nodes. */
export async function planDevices(
  { engine, store }: Deps,
  handle: ContainerHandle,
  mount: MountRef,
  devices: readonly (AllocatedDevice & { readonly slave: string })[],
): Promise<readonly RecordedDevice[]> {
  const planned: RecordedDevice[] = [];
  for (const { nodes, ...device } of devices) {
    const others = [...tracesOf(store, handle.containerId, mount), ...planned.map(({ grant }) => grant)];
    const owner = `${keyOf(mount)} ${device.resource} ${device.id}`;
    planned.push({ ...device, grant: await engine.plan(handle, owner, nodes, others) });
  }
  return planned;
}

/** Gives the container all that the record says, and answers what was missing. The record is in the store. */
export async function grantDevices(
  { engine, store }: Deps,
  handle: ContainerHandle,
  record: MountRecord,
): Promise<GrantReport> {
  refuseContainersOfLater(store, handle.containerId);
  const live = grantsOf(store, record.containerId);
  let rulesChanged = 0;
  const nodesMade: string[] = [];
  const filesMade: string[] = [];
  let limitsSet = false;
  for (const { grant } of record.devices) {
    const report = await engine.grant(handle, grant, without(live, grant));
    rulesChanged += report.rulesChanged;
    nodesMade.push(...report.nodesMade);
    filesMade.push(...(report.filesMade ?? []));
    limitsSet ||= report.limitsSet === true;
  }
  return { rulesChanged, nodesMade, ...(filesMade.length > 0 && { filesMade }), ...(limitsSet && { limitsSet }) };
}

/**
 * Takes back `devices`, of one or several records in the store, as far as nothing else in the store needs them.
 * Never begun or done already: succeeds.
 */
export async function revokeDevices(
  { engine, store }: Deps,
  handle: ContainerHandle,
  devices: readonly RecordedDevice[],
): Promise<void> {
  refuseContainersOfLater(store, handle.containerId);
  const [first, ...rest] = devices.map(({ grant }) => grant);
  if (first === undefined) return;
  // As one: so all rules are gone before the container is asked for its first node, which it may not answer.
  const grants = [first, ...rest];
  const files = grants.flatMap((grant) => grant.files ?? []);
  const limits = grants.find((grant) => grant.limits !== undefined)?.limits;
  const all: Grant = {
    ...first,
    devices: grants.flatMap((grant) => grant.devices),
    ...(limits !== undefined && { limits }),
    ...(files.length > 0 && { files: [...new Map(files.map((file) => [file.path, file])).values()] }),
  };
  const others = tracesOf(store, handle.containerId);
  await engine.revoke(handle, all, rest.reduce(without, without(others, first)));
}

function without(grants: readonly Grant[], { owner }: Grant): readonly Grant[] {
  return grants.filter((grant) => grant.owner !== owner);
}
