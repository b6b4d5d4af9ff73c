import { basename } from 'node:path';
import { deviceFile, isPattern, matchesOf, pathMatches } from './dev-tree.ts';
import type { FileDev, HostDev, NodeSpec, UsbNodeKind, UsbSpec } from './devs.ts';
import { Sysfs, type SysfsNode, type UsbDevice } from './sysfs.ts';

/** Where the host's devices are seen. */
export interface Host {
  readonly devRoot: string;
  readonly sysRoot: string;
}

/** A device of the host as it is now. */
export interface HostDevice {
  /** What its ids are made of: its place, whatever device is there. */
  readonly name: string;
  /** What is wrong with it. */
  readonly problem: string | undefined;
  readonly nodes: readonly HostNode[];
  /** Those that it is near, in order, as far as the host knows. */
  readonly numaNodes: readonly number[];
}

/** A device file of it, as in a `DeviceSpec` of an Allocate. */
interface HostNode {
  readonly containerPath: string;
  readonly hostPath: string;
  readonly permissions: string;
  /** Which of the device's files it is. */
  readonly key: string;
  /** As in `DeviceFile`. */
  readonly number: string;
}

/** The devices of a resource as they are now. */
export function devicesOf(dev: HostDev, host: Host): readonly HostDevice[] {
  const sysfs = new Sysfs(host.sysRoot);
  const found = 'usb' in dev ? usbDevices(dev.usb, host, sysfs) : fileDevices(dev, host);
  return found.map((device) => {
    const near = device.nodes.map(({ number }) => sysfs.numaNode(number)).filter((node) => node !== undefined);
    return { ...device, numaNodes: [...new Set(near)].toSorted((one, other) => one - other) };
  });
}

type Found = Omit<HostDevice, 'numaNodes'>;

function fileDevices(dev: FileDev, { devRoot }: Host): readonly Found[] {
  const { nodes } = dev;
  const [first] = nodes;
  if (first === undefined) return [];
  if (nodes.length > 1) return [groupOf(groupName(dev), nodes, devRoot)];
  const paths = isPattern(first.path) ? matchesOf(first.path, devRoot) : [first.path];
  const isOptional = first.optional || isPattern(first.path);
  return paths
    .map((path) => groupOf(path, [{ ...first, path, optional: false }], devRoot))
    .filter(({ problem }) => !isOptional || problem === undefined);
}

/** Whether a device with this name may be one of the resource. */
export function isNameOf(dev: HostDev, name: string): boolean {
  if ('usb' in dev) return name.startsWith(`${usbName(dev.usb)}${dev.usb.serial === undefined ? '' : '@'}`);
  const [first] = dev.nodes;
  if (first === undefined) return false;
  return dev.nodes.length > 1 ? name === groupName(dev) : pathMatches(first.path, name);
}

const groupName = ({ resource }: FileDev): string => resource.slice(resource.indexOf('/') + 1);

function groupOf(name: string, specs: readonly NodeSpec[], devRoot: string): Found {
  const found = specs.map((spec) => ({ ...spec, file: deviceFile(spec.path, devRoot) }));
  const lacking = found.find(({ file, optional }) => file === undefined && !optional);
  const nodes = found.flatMap(({ path, file, containerPath = path, permissions }) => {
    if (file === undefined) return [];
    return [nodeOf(path, { ...file, hostPath: file.path, path }, containerPath, permissions)];
  });
  const problem =
    lacking === undefined && nodes.length > 0
      ? undefined
      : `${(lacking ?? specs[0])?.path} is no device file of the host now`;
  return { name, problem, nodes };
}

function nodeOf(
  key: string,
  { path, hostPath, number }: SysfsNode & { readonly hostPath: string },
  containerPath: string,
  permissions: string,
): HostNode {
  const at = containerPath.endsWith('/') ? containerPath + basename(path) : containerPath;
  return { key, containerPath: at, hostPath, permissions, number };
}

const SUBSYSTEMS: Readonly<Record<string, UsbNodeKind>> = { tty: 'tty', hidraw: 'hidraw', video4linux: 'video' };

function usbDevices(spec: UsbSpec, host: Host, sysfs: Sysfs): readonly Found[] {
  return sysfs
    .usbDevices()
    .filter(
      ({ vendor, product, serial }) =>
        vendor === spec.vendor && product === spec.product && (spec.serial === undefined || serial === spec.serial),
    )
    .map((device) => usbDevice(device, spec, host))
    .filter(({ problem }) => problem === undefined);
}

/** With the port in its name: cheap devices have no serial number, or all the same one. */
function usbDevice(device: UsbDevice, spec: UsbSpec, { devRoot }: Host): Found {
  const name = `${usbName(device)}@${device.port}`;
  const wanted = spec.nodes.map((kind) => ({ kind, found: nodesOfKind(device, kind) }));
  const nodes = wanted.flatMap(({ kind, found }) =>
    found.flatMap((node, index) => {
      const file = deviceFile(node.path, devRoot);
      // Under that name is something else: the device has just been changed, or /dev is not the kernel's.
      if (file?.number !== node.number) return [];
      const { containerPath = node.path, permissions } = spec;
      return [nodeOf(`${kind}${index}`, { ...node, hostPath: file.path }, containerPath, permissions)];
    }),
  );
  const lacking = wanted.find(({ kind }) => !nodes.some(({ key }) => key.startsWith(kind)));
  return { name, problem: lacking && `${name} has no ${lacking.kind} device file now`, nodes };
}

function nodesOfKind(device: UsbDevice, kind: UsbNodeKind): readonly SysfsNode[] {
  return kind === 'usb' ? [device.node] : device.below.filter(({ subsystem }) => SUBSYSTEMS[subsystem] === kind);
}

/** Begins the names of all devices that fit. */
function usbName({ vendor, product, serial }: Pick<UsbDevice, 'vendor' | 'product'> & { serial?: string | undefined }) {
  return `usb:${vendor}:${product}${serial === undefined ? '' : `:${serial}`}`;
}
