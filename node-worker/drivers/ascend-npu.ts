import { fail } from '../../contract/failures.ts';
import type { DeviceNode } from '../kernel/engine.ts';
import type { Allocation } from '../kubelet/checkpoint.ts';
import { npuNamed, npusOf, pickedNpus, REAL_NPUS } from './ascend-names.ts';
import type { AllocatedDevice, DeviceDriver, Finding, Host, NeededFile } from './driver.ts';
import { nodesText } from './nodes-text.ts';
import { apart, merged, namedFiles, namedNodes, requireLive, withoutMaking } from './sources.ts';

const DRIVER = '/usr/local/Ascend/driver';
/** What Ascend Docker Runtime mounts by default (build/scripts/base.list); on some boards the tool is in sbin. */
const TOOLS = ['/usr/local/dcmi', '/usr/local/bin/npu-smi', '/usr/local/sbin/npu-smi'];
const FILES = [`${DRIVER}/lib64`, `${DRIVER}/include`, ...TOOLS];

/**
 * NPUs of Huawei, whole and virtual. Their plugin names nodes, or leaves that to Ascend Docker Runtime, which knows what each board
 * needs: then they are those of the running slave. Each device gets the nodes that all NPUs share, too.
 */
export const ascendNpu: DeviceDriver = {
  reads: [REAL_NPUS],
  knowsNodes: (allocations, host) => allocations.every((allocation) => tells(allocation, host)),
  devicesOf,
  filesOf,
  needs: {
    anyOf: [`${DRIVER}/lib64`, '/usr/lib64/libascend_hal.so'],
    otherwise:
      `${DRIVER}/lib64 is missing, so programs may find no NPU. ` +
      'Mount the driver of the node as a volume, or start the container under Ascend Docker Runtime',
  },
};

const NPU = /^\/dev\/davinci(\d{1,4})$/;
const pathOf = (npu: number): string => `/dev/davinci${npu}`;

const numbersOf = (nodes: readonly DeviceNode[]): ReadonlySet<number> =>
  new Set(nodes.flatMap(({ path }) => NPU.exec(path)?.slice(1).map(Number) ?? []));

/** Not where the plugin gives others than the kubelet has picked, as under Volcano: the running slave settles that. */
function tells(allocation: Allocation, host: Host): boolean {
  const named = numbersOf(namedNodes(allocation, host).nodes);
  return named.size > 0 && named.symmetricDifference(pickedNpus(allocation)).size === 0;
}

function devicesOf(finding: Finding, host: Host): readonly AllocatedDevice[] {
  const { slave, allocations, live } = finding;
  const named = allocations.flatMap((allocation) => namedNodes(allocation, host).nodes);
  const npus = [...npusOf(finding, numbersOf(named))].map((npu) => npuNode(npu, host));
  if (live === undefined && !allocations.every((allocation) => tells(allocation, host)))
    throw fail('NotAllocated', `Cannot attach what "${slave.name}" has: it must run to show its nodes, does not`);
  const nodes = merged('an NPU', [
    { by: 'the driver', nodes: npus },
    { by: 'the device plugin', nodes: named },
    { by: 'the running slave', nodes: live === undefined ? [] : liveNodes(npus, live) },
  ]);
  return apart(
    allocations.flatMap(({ resource, deviceIds }) => deviceIds.map((id) => ({ id, resource, own: ownPaths(id) }))),
    nodes,
  );
}

/** None where the name of a device does not tell its NPU. */
function ownPaths(deviceId: string): ReadonlySet<string> {
  const npu = npuNamed(deviceId);
  return new Set(npu === undefined ? [] : [pathOf(npu)]);
}

/** As many as the driver makes of an NPU (VDAVINCI_VDEV_OFFSET); virtual ones come after. */
const FIRST_VIRTUAL = 100;

/** In a container a virtual NPU keeps its number and loses its `v`. @throws NotFound */
function npuNode(npu: number, host: Host): DeviceNode {
  const path = npu < FIRST_VIRTUAL ? pathOf(npu) : `/dev/vdavinci${npu}`;
  const [place] = host.paths(path);
  return { ...host.device(place?.hostPath ?? path), path: pathOf(npu), access: 'rw' };
}

/** What the slave has, which must be these NPUs and no others. @throws NotAllocated */
function liveNodes(npus: readonly DeviceNode[], live: readonly DeviceNode[]): readonly DeviceNode[] {
  const nodes = live.map(withoutMaking).filter(({ access }) => access !== '');
  requireLive('an NPU', { nodes: npus, folders: [] }, nodes);
  if (numbersOf(nodes).size === npus.length) return nodes;
  const both = `it must have ${nodesText(npus)}, the running slave has ${nodesText(nodes)}`;
  throw fail('NotAllocated', `Cannot attach an NPU: ${both}`);
}

/** What the plugin mounts if it brings the driver, and else what Ascend Docker Runtime would, as far as the node has it. */
function filesOf(finding: Finding, host: Host): readonly NeededFile[] {
  const named = namedFiles(finding, host);
  if (named.some(({ path }) => path.startsWith(DRIVER))) return named;
  const found = FILES.map((path) => ({ path, hostPath: host.resolve(path) }));
  return [...named, ...found.flatMap(({ path, hostPath }) => (hostPath === undefined ? [] : [{ path, hostPath }]))];
}
