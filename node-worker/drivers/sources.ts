import { fail, failureOf } from '../../contract/failures.ts';
import { accessBits, deviceKey } from '../cgroup/rule.ts';
import type { DeviceNode } from '../kernel/engine.ts';
import type { Allocation, DeviceSpec } from '../kubelet/checkpoint.ts';
import { type CdiDevice, cdiDevicesOf } from './cdi.ts';
import type { AllocatedDevice, ClaimedDevice, Finding, Host, NeededFile } from './driver.ts';
import { nodesText } from './nodes-text.ts';

/** The device nodes that a device plugin's answer names. */
export interface Named {
  readonly nodes: readonly DeviceNode[];
  /** Folders of a container that are named as a whole: the host may have more in them now than when the slave started. */
  readonly folders: readonly string[];
  /** Paths of those that a device has for itself, if its id is a CDI name without vendor and class, or a file of the host. */
  readonly ownOf: (deviceId: string) => ReadonlySet<string>;
}

/**
 * Nodes by the answer's device specs and by its CDI names: runtimes give a container both.
 * @throws NotAllocated, also where one path is named for two devices; NotFound, Invalid
 */
export function namedNodes(allocation: Allocation, host: Host): Named {
  const cdi = cdiDevicesOf(allocation.cdiDevices, host);
  const specified = allocation.devices.flatMap((spec) => placesOf(spec, allocation.resource, host));
  const sources = [{ by: 'the device plugin', nodes: specified.map(({ node }) => node) }, ...sourcesIn(cdi)];
  return {
    nodes: merged(allocation.resource, sources),
    folders: [...new Set(specified.flatMap(({ folder }) => folder ?? []))],
    ownOf(deviceId) {
      const files = hostFilesOf(deviceId, host);
      const bySpec = specified.filter(({ hostPath }) => files.has(hostPath)).map(({ node }) => node);
      const byCdi = cdi.filter(({ id }) => id === deviceId).flatMap(({ own }) => own);
      return new Set([...bySpec, ...byCdi].map(({ path }) => path));
    },
  };
}

/**
 * Nodes by the CDI names that a driver has given for a claim; `own` are paths of those that its spec has for this device.
 * @throws like `namedNodes`
 */
export function claimedNodes(
  { resource, cdiDevices }: ClaimedDevice,
  host: Host,
): Pick<Named, 'nodes' | 'folders'> & { readonly own: ReadonlySet<string> } {
  const cdi = cdiDevicesOf(cdiDevices, host);
  return {
    nodes: merged(resource, sourcesIn(cdi)),
    folders: [],
    own: new Set(cdi.flatMap(({ own }) => own.map(({ path }) => path))),
  };
}

const sourcesIn = (cdi: readonly CdiDevice[]): readonly Source[] =>
  cdi.map(({ file, nodes }) => ({ by: `CDI spec ${file}`, nodes }));

/**
 * Files that the device plugins' answers mount, and the CDI specs that these and claims name, each container path once: runtimes mount all,
 * and what comes last is seen. @throws NotAllocated, NotFound where the host has no such file
 * @param canMiss whether what has this path in the container is left out where the host has no such file
 */
export function namedFiles(
  { allocations, claimed = [] }: Finding,
  host: Host,
  canMiss: (path: string) => boolean = () => false,
): readonly NeededFile[] {
  const named = [...allocations, ...claimed].flatMap(({ cdiDevices }) => cdiDevicesOf(cdiDevices, host));
  const mounts = [...allocations, ...named].flatMap((one) => one.mounts);
  const files = new Map(mounts.map(({ hostPath, containerPath }) => [containerPath, hostPath]));
  return [...files].flatMap(([path, from]) => {
    const hostPath = host.resolve(from);
    if (hostPath !== undefined) return [{ hostPath, path }];
    if (canMiss(path)) return [];
    throw fail(
      'NotFound',
      `Cannot give "${path}" to the container: the node has no "${from}", or the node worker does not see it`,
    );
  });
}

interface Source {
  /** For people. */
  readonly by: string;
  readonly nodes: readonly DeviceNode[];
}

/** The nodes of all sources, each path once. @throws NotAllocated where one path is named for two devices */
export function merged(resource: string, sources: readonly Source[]): readonly DeviceNode[] {
  const named = new Map<string, { readonly by: string; readonly node: DeviceNode }>();
  for (const { by, nodes } of sources) {
    for (const node of nodes) {
      const other = named.get(node.path) ?? { by, node };
      if (deviceKey(other.node) !== deviceKey(node)) {
        const both = `${other.by} names ${nodesText([other.node])}, ${by} names ${nodesText([node])}`;
        throw fail('NotAllocated', `Cannot attach ${resource}: ${both}`);
      }
      named.set(node.path, other);
    }
  }
  return [...named.values()].map(({ node }) => node);
}

/** Of a device whose id is the path of a file, or of a copy of that: `/dev/kmsg::1`. */
function hostFilesOf(deviceId: string, host: Host): ReadonlySet<string> {
  const path = deviceId.replace(/::\d+$/, '');
  if (!path.startsWith('/dev/')) return new Set();
  try {
    return new Set(host.paths(path).map(({ hostPath }) => hostPath));
  } catch (err) {
    if (failureOf(err)?.type === 'NotFound') return new Set();
    throw err;
  }
}

interface Place {
  readonly hostPath: string;
  readonly node: DeviceNode;
  /** The folder that was named instead of the node, in the container. */
  readonly folder?: string;
}

function placesOf(spec: DeviceSpec, resource: string, host: Host): readonly Place[] {
  const access = accessOf(spec, resource);
  return host.paths(spec.hostPath).map(({ rest, hostPath }) => ({
    hostPath,
    node: { ...host.device(hostPath), path: `${spec.containerPath}${rest}`, access },
    ...(rest !== '' && { folder: spec.containerPath }),
  }));
}

function accessOf({ permissions, hostPath }: DeviceSpec, resource: string): string {
  const access = ['r', 'w', 'm'].filter((letter) => permissions.includes(letter)).join('');
  if (access.length > 0 && access.length === permissions.length) return access;
  throw fail(
    'NotAllocated',
    `Cannot attach ${resource}: permissions of ${hostPath} must be some of r, w, m, are "${permissions}"`,
  );
}

/** Checks that a running slave has what the answer names. @throws NotAllocated with both lists */
export function requireLive(
  resource: string,
  { nodes: named, folders }: Pick<Named, 'nodes' | 'folders'>,
  live: readonly DeviceNode[],
  who = 'device plugin',
): void {
  const isNew = ({ path }: DeviceNode): boolean =>
    folders.some((folder) => path.startsWith(`${folder}/`)) && !live.some((other) => other.path === path);
  const old = named.filter((node) => !isNew(node));
  const isWhole = old.every((node) => live.some((other) => gives(other, node)));
  if (isWhole && (old.length > 0 || named.length === 0)) return;
  throw fail(
    'NotAllocated',
    `Cannot attach ${resource}: its ${who} names ${nodesText(named)}, the running slave has ${nodesText(live)}`,
  );
}

function gives(live: DeviceNode, named: DeviceNode): boolean {
  const wanted = accessBits(withoutMaking(named).access);
  return live.path === named.path && deviceKey(live) === deviceKey(named) && (wanted & ~accessBits(live.access)) === 0;
}

/** Every container may make nodes (`m`, OCI default devices): that is no part of an allocation. */
export const withoutMaking = (node: DeviceNode): DeviceNode => ({ ...node, access: node.access.replace('m', '') });

/** A device of an allocation, and which nodes no other device needs. */
export interface OwnPaths {
  readonly id: string;
  readonly resource: string;
  readonly own: ReadonlySet<string>;
}

/** Gives each device all of `nodes` but those that are another one's own. */
export function apart(devices: readonly OwnPaths[], nodes: readonly DeviceNode[]): readonly AllocatedDevice[] {
  const owned = new Set(devices.flatMap(({ own }) => [...own]));
  return devices.map(({ id, resource, own }) => ({
    id,
    resource,
    nodes: nodes.filter(({ path }) => own.has(path) || !owned.has(path)),
  }));
}
