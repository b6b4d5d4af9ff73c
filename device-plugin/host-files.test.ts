import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type Plugged, UsbTree } from '../test/device-plugin/usb-tree.ts';
import type { HostDev, NodeSpec, UsbSpec } from './devs.ts';
import { devicesOf, isNameOf } from './host-files.ts';

function textOf(devices: ReturnType<typeof devicesOf>): readonly string[] {
  return devices.map(({ name, problem, nodes, numaNodes }) => {
    const files = nodes.map(({ hostPath, containerPath, number }) => `${hostPath} at ${containerPath}, ${number}`);
    return `${name}: ${problem ?? files.join('; ')}${numaNodes.map((node) => `; near ${node}`).join('')}`;
  });
}

describe('devicesOf() of paths', () => {
  let devRoot = '';

  beforeEach(() => {
    devRoot = mkdtempSync(join(tmpdir(), 'dev-'));
    for (const minor of ['0', '1', '10']) makeDevice(`ttyUSB${minor}`, minor);
    writeFileSync(join(devRoot, 'ttyUSB9'), 'no device');
    mkdirSync(join(devRoot, 'serial/by-id'), { recursive: true });
  });
  afterEach(() => rmSync(devRoot, { recursive: true }));

  function makeDevice(name: string, minor: string): void {
    execFileSync('mknod', [join(devRoot, name), 'c', '188', minor]);
  }

  function found(...nodes: readonly Partial<NodeSpec>[]): readonly string[] {
    const specs = nodes.map((node) => ({ path: '', permissions: 'rw', optional: false, ...node }));
    return textOf(
      devicesOf({ resource: 'hostdev.k8s.io/x', count: 1, nodes: specs }, { devRoot, sysRoot: '/nonexistent' }),
    );
  }

  test('a wildcard is a device for each device file', () => {
    expect(found({ path: '/dev/ttyUSB?', containerPath: '/dev/usb/' })).toEqual([
      '/dev/ttyUSB0: /dev/ttyUSB0 at /dev/usb/ttyUSB0, c188:0',
      '/dev/ttyUSB1: /dev/ttyUSB1 at /dev/usb/ttyUSB1, c188:1',
    ]);
  });

  test('a link is named after itself, and the container gets what it leads to', () => {
    symlinkSync('../../ttyUSB1', join(devRoot, 'serial/by-id/usb-A'));
    symlinkSync('/etc/passwd', join(devRoot, 'serial/by-id/usb-B'));
    expect(found({ path: '/dev/serial/by-id/*' })).toEqual([
      '/dev/serial/by-id/usb-A: /dev/ttyUSB1 at /dev/serial/by-id/usb-A, c188:1',
    ]);
  });

  test('a group is one device, with those of its optional files that there are', () => {
    const group = [{ path: '/dev/ttyUSB0' }, { path: '/dev/gone', optional: true }, { path: '/dev/ttyUSB1' }];
    expect(found(...group)).toEqual(['x: /dev/ttyUSB0 at /dev/ttyUSB0, c188:0; /dev/ttyUSB1 at /dev/ttyUSB1, c188:1']);
    unlinkSync(join(devRoot, 'ttyUSB1'));
    expect(found(...group)).toEqual(['x: /dev/ttyUSB1 is no device file of the host now']);
  });

  test('an optional device is not offered while it is away, another one is unhealthy', () => {
    expect(found({ path: '/dev/gone', optional: true })).toEqual([]);
    expect(found({ path: '/dev/gone' })).toEqual(['/dev/gone: /dev/gone is no device file of the host now']);
  });
});

describe('devicesOf() of USB devices', () => {
  const MODEM: Plugged = {
    port: '1-1.2',
    vendor: '0403',
    product: '6001',
    serial: 'A50285BI',
    number: 7,
    drivers: [
      ['tty', 'ttyUSB0', '188:0'],
      ['hidraw', 'hidraw3', '240:3'],
      ['sound', 'controlC0', '116:0'],
    ],
  };
  const PLAIN: Plugged = { port: '1-2', vendor: '0403', product: '6001', number: 8 };
  const SPEC: UsbSpec = { vendor: '0403', product: '6001', nodes: ['usb'], permissions: 'rw' };
  let tree: UsbTree;

  beforeEach(() => {
    tree = new UsbTree();
  });
  afterEach(() => tree.remove());

  function found(spec: Partial<UsbSpec>): readonly string[] {
    return textOf(devicesOf({ resource: 'hostdev.k8s.io/x', count: 1, usb: { ...SPEC, ...spec } }, tree));
  }

  test('finds those with the vendor and product, with or without a serial number, and their NUMA node', () => {
    tree.plug(MODEM);
    tree.plug(PLAIN);
    tree.plug({ ...PLAIN, port: '1-3', number: 9, product: '6010' });
    const modem = 'usb:0403:6001:A50285BI@1-1.2: /dev/bus/usb/001/007 at /dev/bus/usb/001/007, c189:6; near 1';
    expect(found({})).toEqual([
      modem,
      'usb:0403:6001@1-2: /dev/bus/usb/001/008 at /dev/bus/usb/001/008, c189:7; near 1',
    ]);
    expect(found({ serial: 'A50285BI' })).toEqual([modem]);
    expect(found({ serial: 'A5' })).toEqual([]);
    expect(found({ product: '6002' })).toEqual([]);
  });

  test('gives the device files of the drivers that are asked for, and offers no device that lacks them', () => {
    tree.plug(MODEM);
    tree.plug(PLAIN);
    expect(found({ nodes: ['tty', 'hidraw'], containerPath: '/dev/modem/' })).toEqual([
      'usb:0403:6001:A50285BI@1-1.2: /dev/ttyUSB0 at /dev/modem/ttyUSB0, c188:0; /dev/hidraw3 at /dev/modem/hidraw3, c240:3; near 1',
    ]);
    expect(found({ nodes: ['usb', 'video'] })).toEqual([]);
  });

  test('a hub has none of the device files of what is plugged into it', () => {
    tree.plug({ ...PLAIN, port: '1-1' });
    tree.plug(MODEM);
    expect(found({ nodes: ['tty'] })).toHaveLength(1);
  });

  test('offers nothing where another device file has the name, or none', () => {
    tree.plug(MODEM);
    unlinkSync(join(tree.devRoot, 'ttyUSB0'));
    expect(found({ nodes: ['tty'] })).toEqual([]);
    tree.mknod('ttyUSB0', '1:1');
    expect(found({ nodes: ['tty'] })).toEqual([]);
    expect(found({ nodes: ['usb'] })).toHaveLength(1);
  });

  test('reads no attribute through a link', () => {
    tree.plug(MODEM);
    const serial = join(tree.sysRoot, 'bus/usb/devices/1-1.2/serial');
    renameSync(serial, join(tree.devRoot, 'serial'));
    symlinkSync(join(tree.devRoot, 'serial'), serial);
    expect(found({}).join('')).toContain('usb:0403:6001@1-1.2: ');
  });

  test('takes no other device for the one that the name of a link says', () => {
    tree.plug(MODEM);
    symlinkSync(readlinkSync(join(tree.sysRoot, 'bus/usb/devices/1-1.2')), join(tree.sysRoot, 'bus/usb/devices/1-9'));
    expect(found({})).toHaveLength(1);
  });

  test('does not follow a link of sysfs to outside of its devices', () => {
    tree.plug(MODEM);
    const link = join(tree.sysRoot, 'bus/usb/devices/1-1.2');
    const elsewhere = mkdtempSync(join(tmpdir(), 'else-'));
    execFileSync('cp', ['-r', `${link}/.`, join(elsewhere, '1-1.2')]);
    unlinkSync(link);
    symlinkSync(join(elsewhere, '1-1.2'), link);
    expect(found({})).toEqual([]);
    rmSync(elsewhere, { recursive: true });
  });

  test('one that is plugged in again is there under its name, with another number', () => {
    tree.plug(MODEM);
    tree.unplug(MODEM);
    expect(found({})).toEqual([]);
    tree.plug({ ...MODEM, number: 9 });
    expect(found({})).toEqual([
      'usb:0403:6001:A50285BI@1-1.2: /dev/bus/usb/001/009 at /dev/bus/usb/001/009, c189:8; near 1',
    ]);
  });
});

const rw = { permissions: 'rw', optional: false };
const one = (path: string): HostDev => ({ resource: 'a.example/x', count: 1, nodes: [{ path, ...rw }] });
const usb = (serial?: string): HostDev => ({
  resource: 'a.example/x',
  count: 1,
  usb: { vendor: '0403', product: '6001', serial, nodes: ['usb'], permissions: 'rw' },
});
const group: HostDev = {
  resource: 'a.example/x',
  count: 1,
  nodes: [
    { path: '/dev/a', ...rw },
    { path: '/dev/b', ...rw },
  ],
};

describe('isNameOf()', () => {
  test.each([
    [one('/dev/a'), '/dev/a', true],
    [one('/dev/a'), '/dev/ab', false],
    [one('/dev/a*'), '/dev/ab', true],
    [one('/dev/a*'), '/dev/a/b', false],
    [group, 'x', true],
    [group, '/dev/a', false],
    [usb(), 'usb:0403:6001:A@1-1', true],
    [usb('A'), 'usb:0403:6001:A@1-1', true],
    [usb('A'), 'usb:0403:6001:AB@1-1', false],
  ])('of %j: %s %s', (dev, name, expected) => {
    expect(isNameOf(dev, name)).toBe(expected);
  });
});
