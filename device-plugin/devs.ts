import { idOf, nameOf } from './names.ts';

/** A device file of the host that is offered as an extended resource. */
export interface HostDev {
  /** On the host and in containers, below /dev. */
  readonly path: string;
  /** Any of r, w, m. */
  readonly permissions: string;
  /** `hostdev.k8s.io/dev_fuse` */
  readonly resource: string;
  /** Ids of the device, one for each container that may have it at the same time. */
  readonly ids: readonly string[];
}

export interface Devs {
  readonly devs: readonly HostDev[];
  readonly problems: readonly string[];
}

/** How many containers may share a device at most: the kubelet keeps every id in memory and in its checkpoint. */
const MAX_COUNT = 1_000;

/** Reads `<path>:<permissions>[:<count>]`, separated by commas; a path may hold colons. Reports every problem at once. */
export function parseDevs(text: string): Devs {
  const parsed = text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
    .map(parseDev);
  const devs = parsed.filter((dev) => typeof dev !== 'string');
  const problems = parsed.filter((dev) => typeof dev === 'string');
  const doubles = devs.filter(({ resource }, index) => devs.findIndex((dev) => dev.resource === resource) !== index);
  const all = [
    ...problems,
    ...doubles.map(({ path, resource }) => `"${path}": another entry is offered as ${resource} already`),
    ...(parsed.length === 0 ? ['no device is named'] : []),
  ];
  return { devs, problems: all };
}

/** The device, or what is wrong with the entry. */
function parseDev(entry: string): HostDev | string {
  const [, path, permissions, count = '1'] = /^(.+):([^:a-z]*[a-z][^:]*)(?::(\d+))?$/.exec(entry) ?? [];
  if (path === undefined || permissions === undefined) return `"${entry}": must be <path>:<permissions>[:<count>]`;
  if (!/^\/dev(\/[^/]+)+$/.test(path) || path.split('/').some((part) => part === '.' || part === '..')) {
    return `"${entry}": the path must lie below /dev`;
  }
  if (!/^[rwm]{1,3}$/.test(permissions) || new Set(permissions).size !== permissions.length) {
    return `"${entry}": permissions must be some of r, w, m, is "${permissions}"`;
  }
  if (Number(count) < 1 || Number(count) > MAX_COUNT) return `"${entry}": the count must be from 1 to ${MAX_COUNT}`;
  const ids = Array.from({ length: Number(count) }, (_, index) => idOf(path, index));
  return { path, permissions, resource: `hostdev.k8s.io/${nameOf(path)}`, ids };
}
