import { closeSync, constants, fstatSync, openSync, readdirSync, readSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

/** A USB device that is plugged in. */
export interface UsbDevice {
  /** Where it is plugged in: `1-1.2`, the same for the same socket. */
  readonly port: string;
  /** Four hex digits. */
  readonly vendor: string;
  readonly product: string;
  /** Many devices have none. */
  readonly serial: string | undefined;
  readonly node: SysfsNode;
  /** Device files that drivers have made of it, in order. */
  readonly below: readonly (SysfsNode & { readonly subsystem: string })[];
}

/** A device file, as the kernel names and numbers it. */
export interface SysfsNode {
  readonly path: string;
  readonly number: string;
}

/** Far beyond what the kernel makes. A file of sysfs has at most one page. */
const [MAX_DEVICES, MAX_FOLDERS, MAX_BYTES, MAX_NUMA_NODE] = [1_000, 500, 4_096, 1_023];
/** A port below a bus; `usb1` is the bus itself, and `1-1:1.0` an interface. */
const PORT = /^\d+-\d+(\.\d+)*$/;
const NUMBER = /^\d{1,7}:\d{1,7}$/;

/**
 * What the kernel says of devices in the sysfs at `root`. A link to a device must end in its `devices` folder, and nothing but
 * regular files is read. What is malformed is taken as not there; never throws.
 */
export class Sysfs {
  readonly #devices: string;
  readonly #root: string;

  constructor(root: string) {
    this.#root = realPath(root) ?? root;
    this.#devices = join(this.#root, 'devices');
  }

  /** The NUMA node that a device is near, which only its bus may know. `number` is as in `DeviceFile`. */
  numaNode(number: string): number | undefined {
    const kind = number.startsWith('b') ? 'block' : 'char';
    let folder = this.#folder(join(this.#root, 'dev', kind, number.slice(1)));
    for (; folder !== undefined && folder !== this.#devices; folder = dirname(folder)) {
      const node = textOf(folder, 'numa_node');
      if (node !== undefined && /^\d{1,4}$/.test(node) && Number(node) <= MAX_NUMA_NODE) return Number(node);
    }
    return undefined;
  }

  usbDevices(): readonly UsbDevice[] {
    const folder = join(this.#root, 'bus/usb/devices');
    return namesIn(folder)
      .filter((name) => PORT.test(name))
      .slice(0, MAX_DEVICES)
      .flatMap((port) => {
        const device = this.#folder(join(folder, port));
        return device === undefined || basename(device) !== port ? [] : this.#usbDevice(device, port);
      });
  }

  #usbDevice(folder: string, port: string): readonly UsbDevice[] {
    const [vendor, product, bus, device, number] = ['idVendor', 'idProduct', 'busnum', 'devnum', 'dev'].map((name) =>
      textOf(folder, name),
    );
    if (vendor === undefined || !/^[0-9a-f]{4}$/.test(vendor)) return [];
    if (product === undefined || !/^[0-9a-f]{4}$/.test(product)) return [];
    if (bus === undefined || device === undefined || !/^\d{1,3}:\d{1,3}$/.test(`${bus}:${device}`)) return [];
    if (number === undefined || !NUMBER.test(number)) return [];
    const path = `/dev/bus/usb/${bus.padStart(3, '0')}/${device.padStart(3, '0')}`;
    const serial = textOf(folder, 'serial') || undefined;
    return [{ port, vendor, product, serial, node: { path, number: `c${number}` }, below: this.#nodesBelow(folder) }];
  }

  /** Without those of devices that are plugged into this one. */
  #nodesBelow(device: string): UsbDevice['below'] {
    const nodes: UsbDevice['below'][number][] = [];
    const folders = foldersIn(device).filter((folder) => !PORT.test(basename(folder)));
    // It grows while it is walked.
    for (const folder of folders) {
      const number = textOf(folder, 'dev');
      const name = /^DEVNAME=([^/\0]+(?:\/[^/\0]+)*)$/m.exec(textOf(folder, 'uevent') ?? '')?.[1];
      const subsystem = this.#subsystem(folder);
      if (number !== undefined && NUMBER.test(number) && name !== undefined && subsystem !== undefined)
        nodes.push({ path: `/dev/${name}`, number: `${subsystem === 'block' ? 'b' : 'c'}${number}`, subsystem });
      folders.push(...foldersIn(folder).slice(0, Math.max(0, MAX_FOLDERS - folders.length)));
    }
    return nodes.toSorted((one, other) => (one.path < other.path ? -1 : 1));
  }

  #subsystem(folder: string): string | undefined {
    const real = realPath(join(folder, 'subsystem'));
    return real?.startsWith(`${this.#root}/`) ? basename(real) : undefined;
  }

  /** The folder of a device that a link leads to. */
  #folder(link: string): string | undefined {
    const real = realPath(link);
    return real?.startsWith(`${this.#devices}/`) ? real : undefined;
  }
}

function realPath(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder).toSorted();
  } catch {
    return [];
  }
}

/** Folders proper, no links to any. */
function foldersIn(folder: string): string[] {
  try {
    const entries = readdirSync(folder, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => join(folder, entry.name));
  } catch {
    return [];
  }
}

/** What an attribute says, without the end of its line. */
function textOf(folder: string, attribute: string): string | undefined {
  let fd: number | undefined;
  try {
    // Without O_NONBLOCK, a pipe would keep us waiting.
    fd = openSync(join(folder, attribute), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    if (!fstatSync(fd).isFile()) return undefined;
    const bytes = Buffer.alloc(MAX_BYTES);
    return bytes.toString('utf8', 0, readSync(fd, bytes)).replace(/\n$/, '');
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
