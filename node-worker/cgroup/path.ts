/** Where a process is in the hierarchies that can decide over devices; absolute below the hierarchy's root. */
export interface ProcessCgroups {
  /** The hierarchy that has the v1 controller `devices`. */
  readonly v1Devices?: string;
  /** The unified hierarchy. */
  readonly v2?: string;
  /** The hierarchy that has the v1 controller `freezer`. */
  readonly v1Freezer?: string;
}

/** Reads /proc/PID/cgroup, lines of `id:controllers:path` (cgroups(7)). */
export function parseProcessCgroups(text: string): ProcessCgroups {
  const found: { v1Devices?: string; v2?: string; v1Freezer?: string } = {};
  for (const line of text.split('\n')) {
    const [, id, controllers = '', path] = /^(\d+):([^:]*):(\/.*)$/.exec(line) ?? [];
    if (path === undefined) continue;
    const clean = path.replace(/ \(deleted\)$/, '');
    if (id === '0' && controllers === '') found.v2 = clean;
    if (controllers.split(',').includes('devices')) found.v1Devices = clean;
    if (controllers.split(',').includes('freezer')) found.v1Freezer = clean;
  }
  return found;
}

/** Container ids as runtimes make them. CRI does not say what an id looks like; all known ones are 64 hex digits. */
const CONTAINER_ID = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{11,127}$/;

export function isContainerId(id: string): boolean {
  return CONTAINER_ID.test(id) && !id.includes('..');
}

/** What runtimes put before the id in a directory's name: containerd, CRI-O, Docker, Podman. Not `crio-conmon-`. */
const NAME_PREFIXES = ['', 'cri-containerd-', 'crio-', 'docker-', 'libpod-'];

/** Whether a directory of this name is the cgroup of the container; all forms of real nodes are in path.test.ts. */
export function isContainerDirectory(name: string, containerId: string): boolean {
  const bare = name.endsWith('.scope') ? name.slice(0, -'.scope'.length) : name;
  if (NAME_PREFIXES.some((prefix) => bare === prefix + containerId)) return true;
  // containerd without SystemdCgroup under a kubelet with the systemd driver: `<pod slice>:cri-containerd:<id>`.
  return /^[^:/]+:[^:/]+:[^:/]+$/.test(bare) && bare.endsWith(`:${containerId}`);
}

/**
 * The part of a process's cgroup path that ends with the topmost directory of the container, or undefined when the
 * process is not in that container. Never the root: a path without the id gives nothing (a zombie shows `/`).
 */
export function containerCgroup(path: string, containerId: string): string | undefined {
  const parts = path.split('/').slice(1);
  // A path with `..` is relative to a cgroup namespace that we are not in.
  if (parts.includes('..')) return undefined;
  const index = parts.findIndex((name) => isContainerDirectory(name, containerId));
  return index < 0 ? undefined : `/${parts.slice(0, index + 1).join('/')}`;
}

/** Every cgroup from `path` down to `below`, both included. `below` is `path` or lies below it. */
export function levelsBetween(path: string, below: string): readonly string[] {
  const levels = [path];
  for (const name of below.slice(path.length).split('/').filter(Boolean)) levels.push(`${levels.at(-1)}/${name}`);
  return levels;
}
