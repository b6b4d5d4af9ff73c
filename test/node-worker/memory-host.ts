import { fail } from '../../contract/failures.ts';
import type { Host } from '../../node-worker/drivers/driver.ts';
import type { HostDevice } from '../../node-worker/kernel/engine.ts';
import type { Allocation } from '../../node-worker/kubelet/checkpoint.ts';

/** A host with these texts and device nodes, by path; nodes are written `c 10:229`. */
export function memoryHost(
  texts: Readonly<Record<string, string>> = {},
  nodes: Readonly<Record<string, string>> = {},
  driverRoots: Host['driverRoots'] = [''],
): Host {
  const all = [...Object.keys(texts), ...Object.keys(nodes)];
  return {
    driverRoots,
    device: (path) => deviceOf(nodes[path] ?? ''),
    paths(path) {
      if (nodes[path] !== undefined) return [{ rest: '', hostPath: path }];
      const below = Object.keys(nodes).filter((node) => node.startsWith(`${path}/`));
      if (below.length === 0) throw fail('NotFound', `Cannot use host path "${path}": the node has no such file`);
      return below.map((hostPath) => ({ rest: hostPath.slice(path.length), hostPath }));
    },
    resolve: (path) => (all.some((file) => file === path || file.startsWith(`${path}/`)) ? path : undefined),
    read: (path) => texts[path],
    list(path) {
      const below = all.filter((file) => file.startsWith(`${path}/`)).map((file) => file.slice(path.length + 1));
      return [...new Set(below.map((rest) => rest.split('/', 1)[0] ?? ''))].toSorted();
    },
  };
}

function deviceOf(text: string): HostDevice {
  const [type, major, minor] = text.split(/[ :]/);
  return { type: type === 'b' ? 'b' : 'c', major: Number(major), minor: Number(minor), mode: 0o666, uid: 0, gid: 0 };
}

/** What the kubelet has allocated to slave `s`, by a device plugin that has answered nothing but `answer`. */
export function allocationOf(
  resource: string,
  deviceIds: readonly string[],
  answer: Partial<Allocation> = {},
): Allocation {
  return {
    podUid: 's',
    container: 'slave',
    resource,
    deviceIds,
    devices: [],
    mounts: [],
    envs: {},
    annotations: {},
    cdiDevices: [],
    ...answer,
  };
}
