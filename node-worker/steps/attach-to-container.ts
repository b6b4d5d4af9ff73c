import { isDeepStrictEqual } from 'node:util';
import type { SlaveRef } from '../../contract/device-mount.ts';
import { fail } from '../../contract/failures.ts';
import type { AttachInput, AttachResult, MountRef } from '../../contract/node-activities.ts';
import type { MountRequest } from '../../contract/requests.ts';
import type { Finding } from '../drivers/driver.ts';
import { driverOf } from '../drivers/drivers.ts';
import { hostOf } from '../drivers/host.ts';
import type { ContainerHandle } from '../kernel/engine.ts';
import type { Call, NodeDependencies } from '../mounts/dependencies.ts';
import { grantDevices, planDevices, revokeDevices } from '../mounts/grants.ts';
import { type Injection, withFiles } from '../mounts/inject.ts';
import { withLimits } from '../mounts/limits.ts';
import { checkSlave } from '../mounts/ownership.ts';
import { preflight } from '../mounts/preflight.ts';
import { undoAttach, usersLeft } from '../mounts/take-back.ts';
import { busy } from '../mounts/users.ts';
import type { RuntimeContainer } from '../runtime/cri.ts';
import { unsupported } from '../runtime/unsupported.ts';
import { type MountRecord, mountedDevicesOf, type RecordedDevice } from '../state/mount-record.ts';
import { checkAlive } from './await-allocation.ts';
import { stillFound, wasLive } from './findings.ts';

/**
 * Grants what `findings` say to the container that runs now, all or nothing. The lock of the container is held.
 * @param turn `again`: the mount is in its record, and only what that still has is granted. When that fails, the record stays.
 */
export async function attachToContainer(
  deps: NodeDependencies,
  { signed, slaves }: AttachInput,
  findings: readonly Finding[],
  call: Call,
  turn: 'first' | 'again',
): Promise<AttachResult> {
  const { request } = signed;
  const mount: MountRef = { namespace: request.target.namespace, name: request.name };
  const container = await runningContainer(deps, request);
  const handle = await deps.engine.openContainer({
    containerId: container.id,
    pid: container.pid,
    spec: container.spec,
  });
  try {
    call.signal.throwIfAborted();
    const before = turn === 'again' ? deps.store.get(mount) : undefined;
    const kept = await keptDevices(deps, mount, { signed, slaves }, handle);
    const { devices, warnings: known } =
      kept === undefined
        ? await newDevices(deps, handle, mount, request, findings, before)
        : { devices: kept, warnings: [] };
    // No step in between: what is buried after this finds the record.
    checkAlive(deps, slaves);
    const since = new Date().toISOString();
    const record: MountRecord = {
      version: 1,
      mount,
      phase: 'attaching',
      signed,
      slaves,
      containerId: container.id,
      init: { pid: handle.pid },
      devices,
      since,
      ...(kept === undefined && findings.every(wasLive) && { confirmed: true }),
    };
    const begun = before === undefined ? record : { ...record, before };
    await deps.store.put(begun);
    try {
      await grantDevices(deps, handle, record);
      await checkStill(deps, request, slaves, findings);
      await deps.store.put({ ...record, phase: 'attached' });
    } catch (err) {
      await undoAttach(deps, handle, begun);
      throw err;
    }
    const warnings = await preflight(deps, handle, request, known);
    return { containerId: container.id, devices: mountedDevicesOf(devices), ...(warnings.length > 0 && { warnings }) };
  } finally {
    handle.close();
  }
}

/** @throws ContainerNotReady, ContainerUnsupported */
async function runningContainer(deps: NodeDependencies, { target }: MountRequest): Promise<RuntimeContainer> {
  const container = await deps.containers.running(target.podUid, target.container);
  if (container === undefined) {
    throw fail('ContainerNotReady', `Cannot attach to container "${target.container}": it must be running, is not`);
  }
  const reason = unsupported(container);
  if (reason === undefined) return container;
  throw fail('ContainerUnsupported', `Cannot attach to container "${target.container}": ${reason}`);
}

/**
 * What the mount has in this container already, of these slaves. What it has there of others is taken back; what it had in a
 * container that is gone is gone with it, and its record is replaced by the new one.
 * @throws DeviceBusy while the record still has to name processes that use what an earlier mount of its name had
 */
async function keptDevices(
  deps: NodeDependencies,
  mount: MountRef,
  { signed, slaves }: AttachInput,
  handle: ContainerHandle,
): Promise<readonly RecordedDevice[] | undefined> {
  const record = deps.store.get(mount);
  const isOwn = record?.containerId === handle.containerId && isDeepStrictEqual(record.slaves, slaves);
  if (record?.leftToDo === 'endUsers' && !isOwn) {
    const { left } = await usersLeft(deps, record);
    if (left.length > 0) throw busy(left);
  }
  if (record === undefined || record.containerId !== handle.containerId) return undefined;
  if (record.phase !== 'revoked') {
    if (record.phase !== 'revoking' && isOwn) return record.devices;
    await revokeDevices(deps, handle, record.devices);
    const { left } = isOwn ? { left: [] } : await usersLeft(deps, record);
    if (left.length > 0) {
      await deps.store.put({ ...record, phase: 'revoked', leftToDo: 'endUsers' });
      throw busy(left);
    }
  }
  await deps.store.delete(mount, record.signed.signature === signed.signature ? 'goesOn' : 'ended');
  return undefined;
}

async function newDevices(
  deps: NodeDependencies,
  handle: ContainerHandle,
  mount: MountRef,
  request: MountRequest,
  findings: readonly Finding[],
  before: MountRecord | undefined,
): Promise<Injection> {
  const host = hostOf(deps);
  const found = findings.flatMap((finding) =>
    driverOf(request.deviceType)
      .devicesOf(finding, host)
      .map((device) => ({ ...device, slave: finding.slave.name })),
  );
  const devices = found.filter(({ id }) => before === undefined || before.devices.some((device) => device.id === id));
  const planned = await planDevices(deps, handle, mount, devices);
  const injection = await withFiles(deps, handle, mount, request, findings, planned);
  return { ...injection, devices: await withLimits(deps, handle, mount, request, findings, injection.devices) };
}

/**
 * Proves after the grant what was proved before it: the kubelet may have given the devices to others in between. A word of a slave may
 * come late, since a device plugin can write it once it has answered: what follows from it must be the same.
 */
async function checkStill(
  deps: NodeDependencies,
  request: MountRequest,
  slaves: readonly SlaveRef[],
  before: readonly Finding[],
): Promise<void> {
  const host = hostOf(deps);
  const withDevices = ({ words, ...finding }: Finding): object => ({
    ...finding,
    devices: words && driverOf(request.deviceType).devicesOf({ ...finding, words }, host),
  });
  const now = await stillFound(deps, request, slaves, before);
  if (!isDeepStrictEqual(now?.map(withDevices), before.map(withDevices))) {
    throw fail('NotAllocated', `Cannot attach mount "${request.name}": its allocation has changed meanwhile`);
  }
  const pods = await Promise.all(slaves.map((slave) => checkSlave(deps, slave, request)));
  const elsewhere = pods.find(({ nodeName }) => nodeName !== deps.node);
  if (elsewhere !== undefined) {
    throw fail('NotAllocated', `Cannot attach what "${elsewhere.name}" has: it must be on ${deps.node}, is not`);
  }
  checkAlive(deps, slaves);
}
