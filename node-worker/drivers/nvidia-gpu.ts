import { fail } from '../../contract/failures.ts';
import type { DeviceNode } from '../kernel/engine.ts';
import type { Allocation } from '../kubelet/checkpoint.ts';
import type { AllocatedDevice, DeviceDriver, Finding, Host } from './driver.ts';
import { nodesText } from './nodes-text.ts';
import { driverFilesOf, isNameOfDevice, LIBCUDA } from './nvidia-files.ts';
import { controlNodes, gpuNamed, gpuNode, gpuPath, gpusOf } from './nvidia-host.ts';
import { apart, merged, namedNodes, type OwnPaths, requireLive, withoutMaking } from './sources.ts';

/**
 * GPUs by NVIDIA's device plugin, which by default names them in the environment only. The driver tells the node of a whole GPU;
 * that of a MIG device the plugin's answer names, or the running slave has. Each device gets the control nodes, too.
 */
export const nvidiaGpu = {
  knowsNodes: (allocations, host) => allocations.every((allocation) => tells(allocation, host)),
  devicesOf,
  /** The runtime may have given it none, which is what the kubelet does not look at, and never all of the control nodes. */
  expected: (granted, live) => (live.some(isGpu) ? granted.filter(isGpu) : []),
  filesOf: driverFilesOf,
  needs: {
    anyOf: LIBCUDA,
    otherwise:
      'libcuda.so.1 is not where it usually is, so programs may find no GPU. Start the container under the NVIDIA runtime with ' +
      'NVIDIA_VISIBLE_DEVICES=none in its environment: then it has the libraries of the driver, and no GPU',
  },
} as const satisfies DeviceDriver;

export const isGpu = ({ path }: DeviceNode): boolean => /^\/dev\/nvidia(\d+$|-caps\/)/.test(path);

function tells(allocation: Allocation, host: Host): boolean {
  const gpus = gpusOf(host);
  const areWhole = allocation.deviceIds.every((id) => gpuNamed(gpus, nameOf(id)) !== undefined);
  return areWhole || namedNodes(allocation, host).nodes.some(isGpu);
}

/** A share of a GPU is the GPU itself: `GPU-…::3` (NVIDIA k8s-device-plugin, "Shared access to GPUs"). */
const nameOf = (deviceId: string): string => deviceId.replace(/::\d+$/, '');

function devicesOf({ slave, allocations, live }: Finding, host: Host): readonly AllocatedDevice[] {
  if (allocations.length === 0) throw notAllocated(`what "${slave.name}" has`, 'the kubelet has allocated it no GPU');
  const parts = allocations.map((allocation) => partOf(allocation, live?.map(withoutMaking), host));
  const nodes = merged('a GPU', [
    { by: 'the driver', nodes: [...parts.flatMap(({ known }) => known), ...controlNodes(host)] },
    { by: 'the device plugin', nodes: parts.flatMap(({ named }) => named) },
    { by: 'the running slave', nodes: parts.flatMap(({ seen }) => seen) },
  ]);
  return apart(
    parts.flatMap(({ devices }) => devices),
    nodes,
  );
}

/** What is known of one allocation, by who knows it. */
interface Part {
  readonly devices: readonly OwnPaths[];
  readonly known: readonly DeviceNode[];
  readonly named: readonly DeviceNode[];
  readonly seen: readonly DeviceNode[];
}

function partOf(allocation: Allocation, live: readonly DeviceNode[] | undefined, host: Host): Part {
  checkNames(allocation);
  const gpus = gpusOf(host);
  const answer = namedNodes(allocation, host);
  const named = answer.nodes.map(withoutMaking);
  const devices = allocation.deviceIds.map((id) => ({ id, gpu: gpuNamed(gpus, nameOf(id)) }));
  const known = devices.flatMap(({ gpu }) => (gpu === undefined ? [] : [gpuNode(gpu, host)]));
  const areWhole = known.length === devices.length;
  if (areWhole) requireSame(allocation.resource, known, named);
  const seen = areWhole || named.some(isGpu) ? [] : nodesOfSlave(allocation, live, gpus);
  if (live?.some(isGpu))
    requireLive(allocation.resource, { nodes: [...known, ...named.filter(isGpu)], folders: [] }, live);
  return {
    known,
    named,
    seen,
    devices: devices.map(({ id, gpu }) => ({
      id,
      resource: allocation.resource,
      own: gpu === undefined ? answer.ownOf(nameOf(id)) : new Set([gpuPath(gpu)]),
    })),
  };
}

/** Which of its nodes belong to which of its devices cannot be told. */
function nodesOfSlave(
  { resource, deviceIds }: Allocation,
  live: readonly DeviceNode[] = [],
  gpus: ReturnType<typeof gpusOf>,
): readonly DeviceNode[] {
  const nodes = live.filter(({ path }) => path.startsWith('/dev/nvidia'));
  if (nodes.some(isGpu)) return nodes;
  const fresh = gpus.filter(({ uuid }) => uuid === undefined).map(({ busId }) => busId);
  const unused =
    fresh.length === 0
      ? ''
      : ` (nor the UUID of ${fresh.join(', ')} before its first use: run "nvidia-smi" on the node)`;
  throw notAllocated(
    resource,
    `the driver does not tell the nodes of ${deviceIds.join(', ')}${unused}, and the running slave has no GPU. ` +
      'It needs the NVIDIA runtime, by default or by a patch of /spec/runtimeClassName',
  );
}

/** Where the answer names nodes of GPUs, they must be those that the driver tells. */
function requireSame(resource: string, known: readonly DeviceNode[], named: readonly DeviceNode[]): void {
  const gpus = named.filter(({ path }) => /^\/dev\/nvidia\d+$/.test(path));
  if (gpus.length === 0 || pathsOf(known).symmetricDifference(pathsOf(gpus)).size === 0) return;
  throw notAllocated(resource, `the driver has it at ${nodesText(known)}, its device plugin names ${nodesText(gpus)}`);
}

const pathsOf = (nodes: readonly DeviceNode[]): ReadonlySet<string> => new Set(nodes.map(({ path }) => path));

/**
 * The UUIDs of each part of the answer must be those of the device ids.
 * @param by who has told the ids
 */
export function checkNames(allocation: Allocation, by = 'the kubelet'): void {
  const ids = uuidsIn(allocation.deviceIds.map(nameOf));
  for (const [source, told] of Object.entries(namesIn(allocation))) {
    if (told.size === 0 || ids.size === 0 || told.symmetricDifference(ids).size === 0) continue;
    throw notAllocated(
      allocation.resource,
      `${by} names ${textOf(ids)}, ${source} of its device plugin: ${textOf(told)}`,
    );
  }
}

/** UUIDs by the part of the device plugin's answer that has them. */
export function namesIn({ envs, mounts, cdiDevices }: Allocation): Readonly<Record<string, ReadonlySet<string>>> {
  return {
    NVIDIA_VISIBLE_DEVICES: uuidsIn((envs['NVIDIA_VISIBLE_DEVICES'] ?? '').split(',')),
    mounts: uuidsIn(mounts.filter(isNameOfDevice).map(({ containerPath }) => containerPath.split('/').at(-1) ?? '')),
    'CDI names': uuidsIn(cdiDevices.map((name) => name.split('=')[1] ?? '')),
  };
}

/** Other names, such as `all` or an index, cannot be compared. */
const uuidsIn = (names: readonly string[]): ReadonlySet<string> =>
  new Set(names.filter((name) => /^(?:GPU|MIG)-/.test(name)));

const textOf = (names: ReadonlySet<string>): string => [...names].join(', ');

const notAllocated = (what: string, why: string): Error => fail('NotAllocated', `Cannot attach ${what}: ${why}`);
