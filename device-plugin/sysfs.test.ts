import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { UsbTree } from '../test/device-plugin/usb-tree.ts';
import { RUNS } from '../test/property-runs.ts';
import { deviceFile } from './dev-tree.ts';
import { USB_NODE_KINDS } from './devs.ts';
import { devicesOf } from './host-files.ts';
import { Sysfs } from './sysfs.ts';

describe('numaNode()', () => {
  test('asks the sysfs of this machine without a fault', () => {
    const sysfs = new Sysfs('/sys');
    expect(sysfs.numaNode('c1:3')).toBeUndefined();
    const nodes = readdirSync('/sys/dev/block').map((number) => sysfs.numaNode(`b${number}`));
    for (const node of nodes) expect(node ?? 0).toBeGreaterThanOrEqual(0);
    expect(nodes.length).toBeGreaterThan(0);
  });

  test.each([
    ['1', 1],
    ['-1', undefined],
    ['1024', undefined],
    ['', undefined],
    ['one', undefined],
  ])('of a disk whose controller says "%s" is %s', (says, node) => {
    const root = mkdtempSync(join(tmpdir(), 'sys-'));
    const disk = join(root, 'devices/pci0000:00/0000:00:02.0/nvme/nvme0/nvme0n1');
    mkdirSync(disk, { recursive: true });
    mkdirSync(join(root, 'dev/block'), { recursive: true });
    symlinkSync('../../devices/pci0000:00/0000:00:02.0/nvme/nvme0/nvme0n1', join(root, 'dev/block/259:0'));
    writeFileSync(join(root, 'devices/pci0000:00/0000:00:02.0/numa_node'), `${says}\n`);
    expect(new Sysfs(root).numaNode('b259:0')).toBe(node);
    rmSync(root, { recursive: true });
  });
});

describe('malformed trees', () => {
  const USB = { vendor: '0403', product: '6001', nodes: USB_NODE_KINDS, permissions: 'rw' };
  let tree: UsbTree;
  let fifo = '';

  beforeEach(() => {
    tree = new UsbTree();
    for (const [name, number] of [
      ['bus/usb/001/007', '189:6'],
      ['ttyUSB0', '188:0'],
      ['hidraw0', '240:0'],
      ['video0', '81:0'],
    ] as const)
      tree.mknod(name, number);
    fifo = join(tree.devRoot, 'fifo');
    execFileSync('mknod', [fifo, 'p']);
  });
  afterEach(() => tree.remove());

  const DEVICE = 'devices/usb1/1-1';
  const right: Readonly<Record<string, string>> = {
    [`${DEVICE}/idVendor`]: '0403\n',
    [`${DEVICE}/idProduct`]: '6001\n',
    [`${DEVICE}/serial`]: 'A\n',
    [`${DEVICE}/busnum`]: '1\n',
    [`${DEVICE}/devnum`]: '7\n',
    [`${DEVICE}/dev`]: '189:6\n',
    [`${DEVICE}/1-1:1.0/ttyUSB0/dev`]: '188:0\n',
    [`${DEVICE}/1-1:1.0/ttyUSB0/uevent`]: 'DEVNAME=ttyUSB0\n',
    [`${DEVICE}/1-1:1.0/ttyUSB0/subsystem`]: '->../../../../../class/tty',
    [`${DEVICE}/1-1:1.0/hidraw0/dev`]: '240:0\n',
    [`${DEVICE}/1-1:1.0/hidraw0/uevent`]: 'MAJOR=240\nDEVNAME=hidraw0',
    [`${DEVICE}/1-1:1.0/hidraw0/subsystem`]: '->../../../../../class/hidraw',
    [`${DEVICE}/1-1:1.0/video0/dev`]: '81:0\n',
    [`${DEVICE}/1-1:1.0/video0/uevent`]: 'DEVNAME=video0',
    [`${DEVICE}/1-1:1.0/video0/subsystem`]: '->../../../../../class/video4linux',
    'bus/usb/devices/1-1': '->../../../devices/usb1/1-1',
    'dev/char/188:0': '->../../devices/usb1/1-1/1-1:1.0/ttyUSB0',
    'devices/usb1/numa_node': '0\n',
  };
  const wrong = fc.oneof(
    fc.constantFrom('', '\n', '0403', '6001\n', '7', '008', '-1', '0x7', '189:6', '188:0', '188:0\0', '999999999:1'),
    fc.constantFrom('DEVNAME=../../etc/passwd', 'DEVNAME=/ttyUSB0', 'DEVNAME=', 'DEVNAME=ttyUSB0\nDEVNAME=video0'),
    fc.constantFrom('folder', 'fifo', 'none'),
    fc.constantFrom('->', '->.', '->..', '->/etc', '->/', '->gone', '->../../../devices', '->idVendor', '->/dev/zero'),
    fc.string({ unit: 'binary', maxLength: 20 }),
    fc.constant('x'.repeat(10_000)),
  );
  const spoilt = fc.array(fc.tuple(fc.constantFrom(...Object.keys(right)), wrong), { maxLength: 4 });

  function make(root: string, path: string, content: string): void {
    const file = join(root, path);
    if (content === 'none') return;
    mkdirSync(dirname(file), { recursive: true });
    if (content === 'folder') mkdirSync(file);
    else if (content === 'fifo') linkSync(fifo, file);
    else if (content.startsWith('->')) symlinkSync(content.slice(2) || '.', file);
    else writeFileSync(file, content);
  }

  test('offer nothing but what sysfs and /dev agree about, and never fail', () => {
    let offered = 0;
    fc.assert(
      fc.property(spoilt, (faults) => {
        const root = mkdtempSync(join(tmpdir(), 'sys-'));
        mkdirSync(join(root, 'class/tty'), { recursive: true });
        mkdirSync(join(root, 'class/hidraw'));
        mkdirSync(join(root, 'class/video4linux'));
        const all = { ...right, ...Object.fromEntries(faults) };
        for (const [path, content] of Object.entries(all)) make(root, path, content);
        const host = { devRoot: tree.devRoot, sysRoot: root };
        const devices = devicesOf({ resource: 'a.example/x', count: 1, usb: USB }, host);
        for (const device of devices) {
          offered += 1;
          expect(device.name).toMatch(/^usb:0403:6001/);
          expect(device.nodes).toHaveLength(4);
          for (const { hostPath, number } of device.nodes)
            expect(deviceFile(hostPath, tree.devRoot)).toEqual({ path: hostPath, number });
          const [usb, tty] = device.nodes;
          expect([all[`${DEVICE}/idVendor`]?.trim(), all[`${DEVICE}/idProduct`]?.trim()]).toEqual(['0403', '6001']);
          expect([usb?.number, tty?.number]).toEqual(['c189:6', 'c188:0']);
        }
        expect(devices.length > 0 || faults.length > 0).toBe(true);
        rmSync(root, { recursive: true });
      }),
      { numRuns: RUNS },
    );
    expect(offered).toBeGreaterThan(RUNS / 10);
  });
});
