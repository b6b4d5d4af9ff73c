import { createHash } from 'node:crypto';

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
/** Names of resources (validation.IsQualifiedName) and ids of devices (device plugin API) have at most 63 characters. */
const MAX_NAME = 63;

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
  const name = path.slice(1).replaceAll(/[^-A-Za-z0-9_.]/g, '_');
  if (name.length > MAX_NAME) return `"${entry}": the resource name would be longer than ${MAX_NAME} characters`;
  if (!/[A-Za-z0-9]$/.test(name)) return `"${entry}": the path must end with a letter or digit`;
  return { path, permissions, resource: `hostdev.k8s.io/${name}`, ids: idsOf(path, Number(count)) };
}

/** The path is the id, as users of a single device expect; copies are numbered. */
function idsOf(path: string, count: number): readonly string[] {
  if (count === 1) return [shortId(path, '')];
  return Array.from({ length: count }, (_, index) => shortId(path, `::${index}`));
}

function shortId(path: string, suffix: string): string {
  if (path.length + suffix.length <= MAX_NAME) return path + suffix;
  const digest = createHash('sha256').update(path).digest('hex').slice(0, 12);
  return `${path.slice(0, MAX_NAME - suffix.length - digest.length - 1)}~${digest}${suffix}`;
}
