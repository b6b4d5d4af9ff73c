import type { SlaveRef } from '../../contract/device-mount.ts';
import { fail } from '../../contract/failures.ts';
import type { MountRequest } from '../../contract/requests.ts';
import type { ClaimedDevice, DeviceDriver, Finding } from '../drivers/driver.ts';
import { driverOf } from '../drivers/drivers.ts';
import { hostOf } from '../drivers/host.ts';
import type { DeviceNode } from '../kernel/engine.ts';
import type { Allocation } from '../kubelet/checkpoint.ts';
import type { NodeDependencies } from '../mounts/dependencies.ts';
import { unsupported } from '../runtime/unsupported.ts';
import { allocated, awaitAllocation, checkAlive, nextChange } from './await-allocation.ts';
import { claimedDevices } from './claimed-devices.ts';

/**
 * Waits until it is known what the slaves have: as soon as the kubelet has allocated it, or where that does not tell the
 * device nodes, from the running slaves.
 * @throws NotAllocated, NotFound, Invalid, SlaveEnded, ContainerUnsupported, KubeletUnavailable, and the reason of `signal`
 */
export async function awaitFindings(
  deps: NodeDependencies,
  request: MountRequest,
  slaves: readonly SlaveRef[],
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const driver = driverOf(request.deviceType);
  if (driver.knowsNodes !== undefined) {
    const allocations = await awaitAllocation(deps, request, slaves, signal);
    if (driver.knowsNodes(allocations, hostOf(deps))) {
      const findings = slaves.map((slave) => findingOf(slave, allocations));
      return withWords(deps, driver, findings);
    }
  }
  for (;;) {
    const seen = deps.changes.count;
    checkAlive(deps, slaves);
    const findings = await runningFindings(deps, request, slaves);
    if (findings !== undefined) return withWords(deps, driver, findings);
    await nextChange(deps, seen, signal);
  }
}

/** What the slaves have now, found in the same way as `before`; undefined when they no longer have all of it. */
export async function stillFound(
  deps: NodeDependencies,
  request: MountRequest,
  slaves: readonly SlaveRef[],
  before: readonly Finding[],
): Promise<readonly Finding[] | undefined> {
  const findings = await findingsLike(deps, request, slaves, before);
  return findings && withWords(deps, driverOf(request.deviceType), findings);
}

async function findingsLike(
  deps: NodeDependencies,
  request: MountRequest,
  slaves: readonly SlaveRef[],
  before: readonly Finding[],
): Promise<readonly Finding[] | undefined> {
  if (before.every(wasLive)) return runningFindings(deps, request, slaves);
  const allocations = await allocated(deps, request, slaves);
  return allocations && slaves.map((slave) => findingOf(slave, allocations));
}

/**
 * The findings with what the driver reads of the slaves, as kube-apiserver has it once all else is known.
 * @throws SlaveEnded
 */
export async function withWords(
  { pods }: Pick<NodeDependencies, 'pods'>,
  { reads = [] }: Pick<DeviceDriver, 'reads'>,
  findings: readonly Finding[],
): Promise<readonly Finding[]> {
  if (reads.length === 0) return findings;
  return Promise.all(
    findings.map(async (finding) => {
      const { namespace, name, uid } = finding.slave;
      const pod = await pods.get(namespace, name);
      if (pod?.uid !== uid) throw fail('SlaveEnded', `Cannot attach what "${name}" has: the slave pod is gone`);
      const all = { ...pod.labels, ...pod.annotations };
      return { ...finding, words: Object.fromEntries(Object.entries(all).filter(([key]) => reads.includes(key))) };
    }),
  );
}

async function runningFindings(
  deps: NodeDependencies,
  request: MountRequest,
  slaves: readonly SlaveRef[],
): Promise<readonly Finding[] | undefined> {
  if (!slaves.every(({ uid }) => deps.slaveRuns(uid) === true)) return undefined;
  const given = await givenTo(deps, request, slaves);
  if (given === undefined) return undefined;
  const live = await Promise.all(slaves.map((slave) => liveDevices(deps, slave)));
  return slaves.map((slave, index) => ({
    ...findingOf(slave, given.allocations),
    claimed: given.claimed.get(slave.uid) ?? [],
    live: live[index] ?? [],
  }));
}

interface Given {
  readonly allocations: readonly Allocation[];
  /** By the UID of the slave. */
  readonly claimed: ReadonlyMap<string, readonly ClaimedDevice[]>;
}

/** By device plugins and by claims; undefined while the kubelet may still come to it. */
async function givenTo(
  deps: NodeDependencies,
  request: MountRequest,
  slaves: readonly SlaveRef[],
): Promise<Given | undefined> {
  const allocations = await allocated(deps, request, slaves);
  if (allocations !== undefined && request.claims === undefined) return { allocations, claimed: new Map() };
  // An extended resource that a claim serves has no entry, and never gets one.
  const claimed = await claimedDevices(deps, request, slaves);
  const served = new Set([...claimed.values()].flat().map(({ resource }) => resource));
  const others = await allocated(deps, request, slaves, served);
  if (others !== undefined) return { allocations: others, claimed };
  return served.size === 0 && !(await hasAnyEntry(deps, slaves)) ? { allocations: [], claimed } : undefined;
}

/** Whether it is what a running slave has, and so needs no confirmation by that. */
export const wasLive = ({ live }: Finding): boolean => live !== undefined;

async function hasAnyEntry({ kubelet }: NodeDependencies, slaves: readonly SlaveRef[]): Promise<boolean> {
  const uids = new Set(slaves.map(({ uid }) => uid));
  return (await kubelet.allocations()).some(({ podUid }) => uids.has(podUid));
}

function findingOf(slave: SlaveRef, allocations: readonly Allocation[]): Finding {
  return { slave, allocations: allocations.filter(({ podUid }) => podUid === slave.uid) };
}

/**
 * Device nodes that the containers of a running slave have, besides those that every container has.
 * @throws ContainerUnsupported, ContainerNotReady, KubeletUnavailable
 */
export async function liveDevices(
  { containers, engine }: Pick<NodeDependencies, 'containers' | 'engine'>,
  { name, uid }: SlaveRef,
): Promise<readonly DeviceNode[]> {
  const devices: DeviceNode[] = [];
  const running = await containers.allRunning(uid);
  if (running.length === 0)
    throw fail('ContainerNotReady', `Cannot see what "${name}" has: none of its containers runs`);
  for (const container of running) {
    const reason = unsupported(container);
    if (reason !== undefined) {
      throw fail('ContainerUnsupported', `Cannot see what "${name}" has: ${reason}`);
    }
    const handle = await engine.openContainer({ containerId: container.id, pid: container.pid, spec: container.spec });
    try {
      devices.push(...(await engine.devicesOf(handle)));
    } finally {
      handle.close();
    }
  }
  return devices;
}
