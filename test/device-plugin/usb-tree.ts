import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';

const BUS = 'devices/pci0000:00/0000:00:14.0/usb1';

export interface Plugged {
  readonly port: string;
  readonly vendor: string;
  readonly product: string;
  readonly serial?: string;
  /** Which one it is on its bus, 1 to 127: another one each time it is plugged in. */
  readonly number: number;
  /** Device files of drivers: subsystem, name below /dev, `major:minor`. */
  readonly drivers?: readonly (readonly [subsystem: string, name: string, number: string])[];
}

/** A sysfs and a /dev with USB devices, laid out as Linux does. The device files are real ones: making them needs root. */
export class UsbTree {
  readonly sysRoot = mkdtempSync(join(tmpdir(), 'sys-'));
  readonly devRoot = mkdtempSync(join(tmpdir(), 'dev-'));

  constructor() {
    this.#attributes(join(this.sysRoot, BUS), { idVendor: '1d6b', idProduct: '0002', busnum: '1', devnum: '1' });
    this.#link('bus/usb/devices/usb1', BUS);
    writeFileSync(join(this.sysRoot, dirname(BUS), 'numa_node'), '1\n');
  }

  plug(device: Plugged): void {
    const { port, vendor, product, serial, number } = device;
    const folder = this.#folderOf(port);
    this.#attributes(join(this.sysRoot, folder), {
      idVendor: vendor,
      idProduct: product,
      ...(serial !== undefined && { serial }),
      busnum: '1',
      devnum: String(number),
      dev: `189:${number - 1}`,
    });
    this.#link(`bus/usb/devices/${port}`, folder);
    this.#link(`dev/char/189:${number - 1}`, folder);
    this.mknod(`bus/usb/001/${String(number).padStart(3, '0')}`, `189:${number - 1}`);
    for (const [subsystem, name, numbers] of device.drivers ?? []) {
      const below = join(folder, `${port}:1.0`, subsystem, name);
      this.#attributes(join(this.sysRoot, below), { dev: numbers, uevent: `MAJOR=1\nDEVNAME=${name}` });
      mkdirSync(join(this.sysRoot, 'class', subsystem), { recursive: true });
      this.#link(join(below, 'subsystem'), join('class', subsystem));
      this.#link(`dev/char/${numbers}`, below);
      this.mknod(name, numbers);
    }
  }

  unplug({ port, number, drivers = [] }: Plugged): void {
    const numbers = [`189:${number - 1}`, ...drivers.map((driver) => driver[2])];
    const names = [`bus/usb/001/${String(number).padStart(3, '0')}`, ...drivers.map((driver) => driver[1])];
    for (const name of names) rmSync(join(this.devRoot, name));
    for (const at of numbers) rmSync(join(this.sysRoot, 'dev/char', at));
    rmSync(join(this.sysRoot, 'bus/usb/devices', port));
    rmSync(join(this.sysRoot, this.#folderOf(port)), { recursive: true });
  }

  mknod(name: string, number: string): void {
    const file = join(this.devRoot, name);
    mkdirSync(dirname(file), { recursive: true });
    execFileSync('mknod', [file, 'c', ...number.split(':')]);
  }

  remove(): void {
    rmSync(this.sysRoot, { recursive: true });
    rmSync(this.devRoot, { recursive: true });
  }

  /** A device that is plugged into another is below it. */
  #folderOf(port: string): string {
    const ports = port.split('.').map((_, index, parts) => parts.slice(0, index + 1).join('.'));
    return join(BUS, ...ports);
  }

  #attributes(folder: string, attributes: Readonly<Record<string, string>>): void {
    mkdirSync(folder, { recursive: true });
    for (const [name, value] of Object.entries(attributes)) writeFileSync(join(folder, name), `${value}\n`);
  }

  #link(from: string, to: string): void {
    const link = join(this.sysRoot, from);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(relative(dirname(link), join(this.sysRoot, to)), link);
  }
}
