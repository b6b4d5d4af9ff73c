import { nameOf } from './names.ts';

/** A device file of the host that a device consists of. */
export interface NodeSpec {
  /** On the host, below /dev. */
  readonly path: string;
  /** Absent: where it is on the host. With a `/` at its end: the folder to put it into, under its own name. */
  readonly containerPath?: string | undefined;
  /** Any of r, w, m. */
  readonly permissions: string;
  /** Without this file the device is healthy all the same, and has one file less. */
  readonly optional: boolean;
}

interface Resource {
  /** `hostdev.k8s.io/dev_fuse` */
  readonly resource: string;
  /** How many containers may have each device at the same time. */
  readonly count: number;
}

export interface FileDev extends Resource {
  /** Several files are one device. One file is one device; a wildcard is a device for each match. */
  readonly nodes: readonly NodeSpec[];
}

/** Each USB device that is plugged in and fits is a device. */
export interface UsbDev extends Resource {
  readonly usb: UsbSpec;
}

/** An extended resource and the devices that are offered under its name. */
export type HostDev = FileDev | UsbDev;

export interface UsbSpec {
  /** Four hex digits in lower case, as sysfs has them. */
  readonly vendor: string;
  readonly product: string;
  /** Absent: any, or none. */
  readonly serial?: string | undefined;
  /** Which device files a container gets: the raw USB device, those of its drivers, or both. Without one of each kind it is not offered. */
  readonly nodes: readonly UsbNodeKind[];
  readonly containerPath?: string | undefined;
  readonly permissions: string;
}

export const USB_NODE_KINDS = ['usb', 'tty', 'hidraw', 'video'] as const;
export type UsbNodeKind = (typeof USB_NODE_KINDS)[number];

export interface Devs {
  readonly devs: readonly HostDev[];
  readonly problems: readonly string[];
}

/** How many containers may share a device at most: the kubelet keeps every id in memory and in its checkpoint. */
export const MAX_COUNT = 1_000;
export const DEFAULT_PREFIX = 'hostdev.k8s.io';

/** Reads `<path>:<permissions>[:<count>]`, separated by commas; a path may hold colons. Reports every problem at once. */
export function parseDevs(text: string): Devs {
  const parsed = text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
    .map(parseDev);
  const devs = parsed.filter((dev) => typeof dev !== 'string');
  const problems = parsed.filter((dev) => typeof dev === 'string');
  const all = [...problems, ...doublesIn(devs), ...(parsed.length === 0 ? ['no device is named'] : [])];
  return { devs, problems: all };
}

/** What is wrong when two entries are offered under one name. */
export function doublesIn(devs: readonly HostDev[]): readonly string[] {
  return devs
    .filter(({ resource }, index) => devs.findIndex((dev) => dev.resource === resource) !== index)
    .map((dev) => {
      const what = 'usb' in dev ? `usb ${dev.usb.vendor}:${dev.usb.product}` : dev.nodes[0]?.path;
      return `"${what}": another entry is offered as ${dev.resource} already`;
    });
}

/** The device, or what is wrong with the entry. */
function parseDev(entry: string): FileDev | string {
  const [, path, permissions, count = '1'] = /^(.+):([^:a-z]*[a-z][^:]*)(?::(\d+))?$/.exec(entry) ?? [];
  if (path === undefined || permissions === undefined) return `"${entry}": must be <path>:<permissions>[:<count>]`;
  const problem = pathProblem(path) ?? permissionsProblem(permissions);
  if (problem !== undefined) return `"${entry}": ${problem}`;
  if (Number(count) < 1 || Number(count) > MAX_COUNT) return `"${entry}": the count must be from 1 to ${MAX_COUNT}`;
  const nodes = [{ path, permissions, optional: false }];
  return { resource: `${DEFAULT_PREFIX}/${nameOf(path)}`, count: Number(count), nodes };
}

export function pathProblem(path: string): string | undefined {
  const below = /^\/dev(\/[^/\0]+)+$/.test(path) && !path.split('/').some((part) => part === '.' || part === '..');
  return below ? undefined : 'the path must lie below /dev';
}

export function permissionsProblem(permissions: string): string | undefined {
  if (/^[rwm]{1,3}$/.test(permissions) && new Set(permissions).size === permissions.length) return undefined;
  return `permissions must be some of r, w, m, is "${permissions}"`;
}
