import { isDeepStrictEqual } from 'node:util';
import type { SlaveRef } from '../../contract/device-mount.ts';
import { fail } from '../../contract/failures.ts';
import type { AttachInput, AttachResult, MountRef } from '../../contract/node-activities.ts';
import type { MountRequest } from '../../contract/requests.ts';
import { verifiedRequest } from '../../contract/signature.ts';
import { driverOf } from '../drivers/drivers.ts';
import type { Allocation } from '../kubelet/checkpoint.ts';
import { ownKernelOf } from '../runtime/shared-kernel.ts';
import { type MountRecord, mountedDevicesOf } from '../state/mount-record.ts';
import { allocated, awaitAllocation, checkAlive } from './await-allocation.ts';
import { type Call, lockOf, type NodeDependencies } from './dependencies.ts';
import { grantDevices, planDevices, revokeDevices } from './grants.ts';
import { checkSlave, checkTarget } from './ownership.ts';

/** See `NodeActivities.attachDevices`. */
export async function attach(deps: NodeDependencies, input: AttachInput, call: Call): Promise<AttachResult> {
  const request = verifiedMount(deps, input);
  const { slaves } = input;
  const { target } = request;
  if (slaves.length === 0) throw fail('NotAllocated', `Cannot attach mount "${request.name}": it has no slave pod`);
  checkAlive(deps, slaves);
  await Promise.all([checkTarget(deps, target), ...slaves.map((slave) => checkSlave(deps, slave, target))]);
  const allocations = await awaitAllocation(deps, request, slaves, call.signal);
  return deps.locks.run([lockOf(target)], () => attachLocked(deps, input, allocations, call));
}

/** @throws InvalidSignature also for a signed request that is not one to mount */
function verifiedMount(deps: NodeDependencies, { signed }: AttachInput): MountRequest {
  const request = verifiedRequest(signed, deps.publicKeys());
  if (request.kind === 'mount') return request;
  throw fail('InvalidSignature', 'Cannot attach: the apiserver has signed another kind of request');
}

async function attachLocked(
  deps: NodeDependencies,
  { signed, slaves }: AttachInput,
  allocations: readonly Allocation[],
  call: Call,
): Promise<AttachResult> {
  const { request } = signed;
  const { target } = request;
  const mount: MountRef = { namespace: target.namespace, name: request.name };
  const container = await runningContainer(deps, request);
  await undoOther(deps, mount, slaves, container.id);
  const handle = deps.engine.openContainer({ containerId: container.id, pid: container.pid });
  try {
    call.signal.throwIfAborted();
    // No step in between: what is buried after this finds the record.
    checkAlive(deps, slaves);
    const devices =
      deps.store.get(mount)?.devices ??
      planDevices(deps, handle, mount, driverOf(request.deviceType).devicesOf(allocations, hostDeviceOf(deps)));
    const record: MountRecord = {
      version: 1,
      mount,
      phase: 'attaching',
      signed,
      slaves,
      containerId: container.id,
      devices,
      since: new Date().toISOString(),
    };
    await deps.store.put(record);
    try {
      await grantDevices(deps, handle, record);
      await checkStill(deps, request, slaves, allocations);
      await deps.store.put({ ...record, phase: 'attached' });
    } catch (err) {
      await revokeDevices(deps, handle, record.devices);
      await deps.store.delete(mount);
      throw err;
    }
    return { containerId: container.id, devices: mountedDevicesOf(devices) };
  } finally {
    handle.close();
  }
}

/** @throws ContainerNotReady, ContainerUnsupported */
async function runningContainer(
  deps: NodeDependencies,
  { target }: MountRequest,
): Promise<{ id: string; pid: number }> {
  const container = await deps.containers.running(target.podUid, target.container);
  if (container === undefined) {
    throw fail('ContainerNotReady', `Cannot attach to container "${target.container}": it must be running, is not`);
  }
  const ownKernel = ownKernelOf(container);
  if (ownKernel === undefined) return container;
  throw fail('ContainerUnsupported', `Cannot attach to container "${target.container}": ${ownKernel}`);
}

/** Takes back what the mount of that name has of other slaves, or forgets what it had in a container that is gone. */
async function undoOther(
  deps: NodeDependencies,
  mount: MountRef,
  slaves: readonly SlaveRef[],
  containerId: string,
): Promise<void> {
  const record = deps.store.get(mount);
  if (record === undefined) return;
  const same = record.containerId === containerId && isDeepStrictEqual(record.slaves, slaves);
  if (same && record.phase !== 'revoked') return;
  if (record.phase !== 'revoked' && record.containerId === containerId) {
    const handle = deps.engine.openContainer({ containerId });
    try {
      await revokeDevices(deps, handle, record.devices);
    } finally {
      handle.close();
    }
  }
  await deps.store.delete(mount);
}

/** Proves after the grant what was proved before it: the kubelet may have given the devices to others in between. */
async function checkStill(
  deps: NodeDependencies,
  request: MountRequest,
  slaves: readonly SlaveRef[],
  before: readonly Allocation[],
): Promise<void> {
  const now = await allocated(deps, request, slaves);
  if (!isDeepStrictEqual(now, before)) {
    throw fail('NotAllocated', `Cannot attach mount "${request.name}": its allocation has changed meanwhile`);
  }
  const pods = await Promise.all(slaves.map((slave) => checkSlave(deps, slave, request.target)));
  const elsewhere = pods.find(({ nodeName }) => nodeName !== deps.node);
  if (elsewhere !== undefined) {
    throw fail('NotAllocated', `Cannot attach what "${elsewhere.name}" has: it must be on ${deps.node}, is not`);
  }
  checkAlive(deps, slaves);
}

function hostDeviceOf({ engine, hostRoot }: NodeDependencies) {
  return (path: string) => engine.hostDevice(`${hostRoot}${path}`);
}
