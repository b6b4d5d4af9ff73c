import { type FailureType, fail, failureOf } from '../../contract/failures.ts';
import { accessBits, deviceKey } from '../cgroup/rule.ts';
import { stillAllowed } from '../cgroup/still-allowed.ts';
import type { OpenContainer } from './container.ts';
import type { NodePlan } from './container-nodes.ts';
import type {
  DeviceNode,
  FilesPlan,
  Grant,
  GrantedDevice,
  GrantedFile,
  GrantReport,
  HostFile,
  RevokeReport,
} from './engine.ts';
import { limitsIn, type VgpuLimits } from './gpu-limits.ts';
import { accessTo, allow, checkGrantable, disallow, listedBefore } from './policy.ts';

/** See `KernelEngine.plan`. */
export async function plan(
  opened: OpenContainer,
  owner: string,
  devices: readonly DeviceNode[],
  others: readonly Grant[],
): Promise<Grant> {
  const container = withHints(opened, others);
  const { spec } = container.hints;
  checkGrantable(container, devices);
  const access = accessTo(container, devices);
  const nodes = await container.files.planNodes(container, devices);
  return {
    owner,
    containerId: container.containerId,
    ...(spec !== undefined && container.cgroup.version === 2 && { spec }),
    devices: devices.map((device, index) => {
      const { type, major, minor, path, mode, uid, gid } = device;
      return {
        type,
        major,
        minor,
        access: device.access,
        path,
        mode,
        uid,
        gid,
        ...planDevice(container, device, access[index] ?? '', nodes[index] ?? NOTHING, devicesIn(container, others)),
      };
    }),
  };
}

const NOTHING: NodePlan = { node: 'found', madeDirectories: [] };

function planDevice(
  container: OpenContainer,
  device: DeviceNode,
  accessNow: string,
  node: NodePlan,
  others: readonly GrantedDevice[],
): Pick<GrantedDevice, 'accessBefore' | 'listedBefore' | 'node' | 'madeDirectories'> {
  const shared = others.find((other) => deviceKey(other) === deviceKey(device));
  const sharedNode = others.find((other) => other.path === device.path && other.node === 'made');
  const directories = others
    .filter(({ path }) => sharesDirectory(path, device.path))
    .flatMap((other) => other.madeDirectories);
  return {
    accessBefore: shared?.accessBefore ?? accessNow,
    listedBefore: shared?.listedBefore ?? listedBefore(container, device),
    node: sharedNode?.node ?? node.node,
    madeDirectories: [...new Set([...directories, ...node.madeDirectories])].filter((made) =>
      device.path.startsWith(`${made}/`),
    ),
  };
}

/** Both are in a directory below /dev of the same name. */
const sharesDirectory = (a: string, b: string): boolean => a.split('/')[2] === b.split('/')[2];

/** See `KernelEngine.planFiles`. */
export async function planFiles(
  container: OpenContainer,
  files: readonly HostFile[],
  others: readonly Grant[],
): Promise<FilesPlan> {
  const made = filesIn(container, others).filter(({ name }) => name === 'made');
  const directories = made.flatMap(({ madeDirectories }) => madeDirectories);
  const plan = await container.files.planFiles(container, files);
  return {
    ...plan,
    files: plan.files.map((file) => ({
      ...file,
      name: made.some(({ path }) => path === file.path) ? 'made' : file.name,
      madeDirectories: [...new Set([...directories, ...file.madeDirectories])].filter((directory) =>
        file.path.startsWith(`${directory}/`),
      ),
    })),
  };
}

/** See `KernelEngine.grant`. */
export async function grant(opened: OpenContainer, wanted: Grant, others: readonly Grant[]): Promise<GrantReport> {
  const container = withHints(opened, [wanted, ...others]);
  requireAlive(container);
  requireSameContainer(container, wanted);
  let hadDevices = false;
  try {
    const rulesChanged = allow(container, [...wanted.devices, ...devicesIn(container, others)]);
    const { made, missing } = await container.files.placeNodes(container, wanted.devices);
    verify(container, wanted.devices, missing);
    const { files } = wanted;
    hadDevices = wanted.devices.length > 0 && rulesChanged === 0 && made.length === 0;
    // First: a program that finds HAMi-core finds its limits as well.
    const limits = limitsOf(container, wanted, others);
    const limitsSet = limits !== undefined && (await container.files.setLimits(container, limits, 'refuse'));
    const filesMade = files && (await container.files.placeFiles(container, files));
    return {
      rulesChanged,
      nodesMade: made,
      ...(filesMade !== undefined && { filesMade }),
      ...(limitsSet && { limitsSet }),
    };
  } catch (err) {
    // Nothing but files or limits was missing: what the container has put in their place is no reason to take its devices away.
    if (!hadDevices) await revoke(container, wanted, others);
    requireAlive(container);
    throw err;
  }
}

/** Looks at the result with the kernel's own objects, not with what was meant to be written. */
function verify(container: OpenContainer, devices: readonly GrantedDevice[], missing: string | null): void {
  const access = accessTo(container, devices);
  const lacking = devices.find((device, index) => lacks(access[index] ?? '', device.access));
  if (lacking !== undefined) {
    throw fail(
      'ContainerUnsupported',
      `Cannot allow "${deviceKey(lacking)}": another rule of the container's cgroups refuses it`,
    );
  }
  if (missing === null) return;
  throw fail(
    'ContainerUnsupported',
    `Cannot make device node "${missing}": the container takes away what is made there`,
  );
}

const lacks = (access: string, wanted: string): boolean => (accessBits(wanted) & ~accessBits(access)) !== 0;

/** See `KernelEngine.revoke`. */
export async function revoke(opened: OpenContainer, taken: Grant, others: readonly Grant[]): Promise<RevokeReport> {
  const container = withHints(opened, [taken, ...others]);
  requireSameContainer(container, taken);
  const kept = devicesIn(container, others);
  const rulesChanged = disallow(container, taken.devices, kept);
  const removable = taken.devices.filter(({ path }) => !kept.some((other) => other.path === path));
  const nodesRemoved = await unless(GONE_OR_STUCK, [], () => container.files.takeNodes(container, removable));
  const report = { rulesChanged, nodesRemoved, stillAllowed: stillAllowed(taken.devices, kept) };
  const limits = limitsOf(container, taken, others, 'without');
  if (limits !== undefined)
    await unless(GONE_OR_STUCK, false, () => container.files.setLimits(container, limits, 'goOn'));
  if (taken.files === undefined) return report;
  const filesKept = new Set(filesIn(container, others).map(({ path }) => path));
  const files = taken.files.filter(({ path }) => !filesKept.has(path));
  const filesRemoved = await unless(GONE_OR_STUCK, [], () => container.files.takeFiles(container, files));
  return { ...report, filesRemoved };
}

/** A container that has ended took its nodes with it; one that does not answer has no use for them without their rules. */
const GONE_OR_STUCK: readonly FailureType[] = ['ContainerNotReady', 'ContainerStuck', 'ContainerUnsupported'];

async function unless<T>(types: readonly FailureType[], otherwise: T, use: () => Promise<T>): Promise<T> {
  try {
    return await use();
  } catch (err) {
    const type = failureOf(err)?.type;
    if (type === undefined || !types.includes(type)) throw err;
    return otherwise;
  }
}

/** What is to hold in the container of the region that `grant` names; undefined where it names none. */
function limitsOf(
  { containerId }: OpenContainer,
  grant: Grant,
  others: readonly Grant[],
  how: 'with' | 'without' = 'with',
): VgpuLimits | undefined {
  if (grant.limits === undefined) return undefined;
  const live = others.filter((other) => other.containerId === containerId);
  return limitsIn(grant.limits, how === 'with' ? [grant, ...live] : live);
}

/** See `KernelEngine.drifted`. */
export async function hasDrifted(
  opened: OpenContainer,
  grants: readonly Grant[],
  others: readonly Grant[] = [],
): Promise<boolean> {
  const container = withHints(opened, grants);
  const devices = devicesIn(container, grants);
  const access = accessTo(container, devices);
  if (devices.some((device, index) => lacks(access[index] ?? '', device.access))) return true;
  const files = distinctFiles(filesIn(container, grants).filter(({ name }) => name === 'made'));
  const limited = grants.find((grant) => grant.limits !== undefined);
  const limits = limited && limitsOf(container, limited, [...grants.filter((grant) => grant !== limited), ...others]);
  return !(await unless(
    ['ContainerNotReady'],
    false,
    async () =>
      (await container.files.hasNodes(container, distinct(devices), files)) &&
      (limits === undefined || (await container.files.hasLimits(container, limits))),
  ));
}

/** The devices of a mount share their files. */
const distinctFiles = (files: readonly GrantedFile[]): readonly GrantedFile[] => [
  ...new Map(files.map((file) => [file.path, file])).values(),
];

/** Mounts of one container share nodes. */
const distinct = (devices: readonly DeviceNode[]): readonly DeviceNode[] => [
  ...new Map(devices.map((device) => [`${device.path} ${deviceKey(device)}`, device])).values(),
];

/** The container with all that its grants tell of its programs. */
export function withHints(container: OpenContainer, grants: readonly Grant[]): OpenContainer {
  const ours = grants.filter(({ containerId }) => containerId === container.containerId);
  const spec = container.hints.spec ?? ours.find((grant) => grant.spec !== undefined)?.spec;
  return { ...container, hints: { spec, granted: ours.map(({ devices }) => devices) } };
}

const devicesIn = (container: OpenContainer, grants: readonly Grant[]): readonly GrantedDevice[] =>
  grants.filter(({ containerId }) => containerId === container.containerId).flatMap(({ devices }) => devices);

const filesIn = (container: OpenContainer, grants: readonly Grant[]): readonly GrantedFile[] =>
  grants.filter(({ containerId }) => containerId === container.containerId).flatMap(({ files = [] }) => files);

function requireAlive(container: OpenContainer): void {
  if (container.isAlive()) return;
  throw fail('ContainerNotReady', `Cannot change container "${container.containerId}": its init process has ended`);
}

function requireSameContainer(container: OpenContainer, { containerId }: Grant): void {
  if (containerId === container.containerId) return;
  throw fail('Invalid', `Cannot change container "${container.containerId}": the grant is for "${containerId}"`);
}
