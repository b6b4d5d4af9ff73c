import { fail, failureOf } from '../../contract/failures.ts';
import type { MountRef } from '../../contract/node-activities.ts';
import type { MountRequest } from '../../contract/requests.ts';
import type { Finding, NeededFile, NeededRegion, NeededText } from '../drivers/driver.ts';
import { driverOf } from '../drivers/drivers.ts';
import { hostOf } from '../drivers/host.ts';
import { namedFiles } from '../drivers/sources.ts';
import type { ContainerHandle, Grant, HostFile } from '../kernel/engine.ts';
import type { RecordedDevice } from '../state/mount-record.ts';
import { tracesOf } from '../state/mount-store.ts';
import type { NodeDependencies } from './dependencies.ts';

/** Devices with the files that are mounted for them, and what people are to know about those. */
export interface Injection {
  readonly devices: readonly RecordedDevice[];
  readonly warnings: readonly string[];
}

/**
 * Plans the files that the request wants in the container besides its devices. Each device of a slave needs all files of that: they go
 * with the last one. By default they are a help and no condition: where they cannot be given, the mount is made without them, and a
 * warning says why.
 * @throws with `inject: files` all that stands in the way
 */
export async function withFiles(
  deps: NodeDependencies,
  handle: ContainerHandle,
  mount: MountRef,
  request: MountRequest,
  findings: readonly Finding[],
  devices: readonly RecordedDevice[],
): Promise<Injection> {
  const plan = (): Promise<Injection> => withPlan(deps, handle, mount, request, findings, devices);
  if (request.inject === 'files') return plan();
  if (request.inject === 'none' || !(await lacksFiles(deps, handle, mount, request))) return { devices, warnings: [] };
  try {
    return await plan();
  } catch (err) {
    const failure = failureOf(err);
    if (failure === undefined) throw err;
    return { devices, warnings: [`no files of the node are mounted: ${failure.message}`] };
  }
}

/** What the devices need where the container lacks it. */
async function lacksFiles(
  deps: NodeDependencies,
  handle: ContainerHandle,
  mount: MountRef,
  { deviceType }: MountRequest,
): Promise<boolean> {
  const { needs } = driverOf(deviceType);
  return needs !== undefined && (await lacksAll(deps, handle, mount, needs.anyOf));
}

/** What another mount has put there goes with that one, and so is still lacking. What cannot be looked at is left as it is. */
async function lacksAll(
  { engine, store, log }: Pick<NodeDependencies, 'engine' | 'store' | 'log'>,
  handle: ContainerHandle,
  mount: MountRef,
  paths: readonly string[],
): Promise<boolean> {
  const ours = tracesOf(store, handle.containerId, mount).flatMap(({ files = [] }) => files);
  if (ours.some((file) => file.name === 'made' && paths.includes(file.path))) return true;
  try {
    return !(await engine.hasAnyFile(handle, paths));
  } catch (err) {
    log.info({ err, mount: mount.name }, 'cannot look whether the container has what the devices need');
    return false;
  }
}

async function withPlan(
  deps: NodeDependencies,
  handle: ContainerHandle,
  mount: MountRef,
  request: MountRequest,
  findings: readonly Finding[],
  devices: readonly RecordedDevice[],
): Promise<Injection> {
  const { engine, store } = deps;
  const warnings = new Set<string>();
  const done: RecordedDevice[] = [];
  for (const finding of findings) {
    const own = devices.filter(({ slave }) => slave === finding.slave.name);
    const wanted = await filesOf(deps, handle, mount, request, finding);
    const others = [...tracesOf(store, handle.containerId, mount), ...done.map(({ grant }) => grant)];
    const plan = wanted.length === 0 ? undefined : await engine.planFiles(handle, wanted, others);
    for (const warning of plan?.warnings ?? []) warnings.add(warning);
    done.push(...own.map((device) => (plan === undefined ? device : withFilesOf(device, plan.files))));
  }
  return { devices: done, warnings: [...warnings] };
}

const withFilesOf = (device: RecordedDevice, files: Grant['files'] = []): RecordedDevice => ({
  ...device,
  grant: { ...device.grant, files },
});

/** As the engine sees the host. @throws NotFound when the request wants files and there are none */
async function filesOf(
  deps: NodeDependencies,
  handle: ContainerHandle,
  mount: MountRef,
  request: MountRequest,
  finding: Finding,
): Promise<readonly HostFile[]> {
  const host = hostOf(deps);
  const files = driverOf(request.deviceType).filesOf?.(finding, host) ?? namedFiles(finding, host);
  if (files.length === 0 && request.inject === 'files')
    throw fail(
      'NotFound',
      `Cannot give files to mount "${request.name}": neither the device plugin nor a driver of the node has any`,
    );
  const wanted: HostFile[] = [];
  for (const [unless, some] of Map.groupBy(files, (file) => ('unless' in file ? file.unless : undefined))) {
    if (unless !== undefined && !(await lacksAll(deps, handle, mount, unless))) continue;
    wanted.push(...(await Promise.all(some.map((file) => hostFileOf(deps, handle, mount, file)))));
  }
  return wanted;
}

async function hostFileOf(
  { hostRoot, store }: Pick<NodeDependencies, 'hostRoot' | 'store'>,
  { containerId }: ContainerHandle,
  mount: MountRef,
  file: NeededFile | NeededRegion | NeededText,
): Promise<HostFile> {
  const { path } = file;
  if ('text' in file) return { hostPath: await store.textFile(file.text), path };
  if ('region' in file) return { hostPath: await store.regionFile(containerId, mount), path, writable: true };
  return { hostPath: `${hostRoot}${file.hostPath}`, path, ...(file.writable && { writable: true }) };
}
