import { describe, expect, test } from '@jest/globals';
import { parseCgroupRoots, refuseOwnNamespace } from './cgroup-roots.ts';
import { major, makedev, minor } from './device-number.ts';
import { parseMount } from './mount-guard.ts';
import { parseProcessStat } from './process.ts';
import { componentsBelowDev } from './safe-path.ts';
import { syscallNumber } from './syscall-numbers.ts';

describe('parseCgroupRoots()', () => {
  test.each([
    [
      'a hybrid host',
      '40 24 0:36 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices\n41 24 0:37 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n42 24 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n',
      { v1Devices: '/sys/fs/cgroup/devices', v1Freezer: '/sys/fs/cgroup/freezer', v2: '/sys/fs/cgroup/unified' },
    ],
    [
      'a v2 host',
      '30 23 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n',
      { v2: '/sys/fs/cgroup' },
    ],
    ['a mount of only a part', '30 23 0:26 /kubepods/x /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n', {}],
    ['no cgroups', '22 27 0:21 / /proc rw - proc proc rw\n', {}],
  ])('finds the mounts of %s', (_, text, roots) => {
    expect(parseCgroupRoots(text)).toEqual(roots);
  });
});

test('refuseOwnNamespace() refuses relative paths only', () => {
  expect(() => refuseOwnNamespace('0::/../../..\n')).toThrow('in a cgroup namespace of its own');
  expect(() => refuseOwnNamespace('5:devices:/\n0::/init.scope\n')).not.toThrow();
});

test.each([
  ['1 (sh) S 0 1 1 0 -1 4 1 1 1 1 0 0 0 0 20 0 1 0 4711 1 1', { command: 'sh', state: 'S', startTime: '4711' }],
  ['7 (a) R (b) Z 0 1 1 0 -1 4 1 1 1 1 0 0 0 0 20 0 1 0 99 1', { command: 'a) R (b', state: 'Z', startTime: '99' }],
])('parseProcessStat() reads %j', (text, stat) => {
  expect(parseProcessStat(text)).toEqual(stat);
});

test.each([
  ['a terminal sequence', '\x1b[2J\x1b[31mroot', '?[2J?[31mroot'],
  ['control characters', 'a\r\n\t\x00\x7f\u009bb', 'a??????b'],
  ['what turns the direction of the text', 'a\u202egpj.exe', 'a?gpj.exe'],
  ['bytes that are no text', '\xff\xfe', '??'],
  ['other languages', 'größe', 'größe'],
  ['more than is needed to know it', 'x'.repeat(200), 'x'.repeat(32)],
])('parseProcessStat() makes a name with %s fit for messages', (_, name, command) => {
  const bytes = name.includes('\xff') ? name : Buffer.from(name).toString('latin1');
  expect(parseProcessStat(`1 (${bytes}) S 1`).command).toBe(command);
});

test.each([
  ['/dev/fuse', ['fuse']],
  ['/dev/dri/card0', ['dri', 'card0']],
])('componentsBelowDev() splits %j', (path, parts) => {
  expect(componentsBelowDev(path)).toEqual(parts);
});

test.each([
  '/dev',
  '/dev/',
  'dev/fuse',
  '/etc/passwd',
  '/dev/../etc/x',
  '/dev/./x',
  '/dev//x',
  '/dev/x/',
  '/dev/a\0b',
  '',
])('componentsBelowDev() refuses %j', (path) => {
  expect(() => componentsBelowDev(path)).toThrow('Cannot use device path');
});

test.each([
  [10, 229],
  [4095, 1_048_575],
  [195, 255],
  [0x12345678, 0x9abcdef0],
])('makedev() keeps %i:%i', (a, b) => {
  const dev = makedev(a, b);
  expect([major(dev), minor(dev)]).toEqual([a, b]);
});

test('syscallNumber() knows x64 and arm64 only', () => {
  expect([syscallNumber('bpf', 'x64'), syscallNumber('bpf', 'arm64')]).toEqual([321, 280]);
  expect(() => syscallNumber('bpf', 'riscv64')).toThrow('only x64 and arm64');
});

test.each([
  ['36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw', { id: '36', device: '98:0', type: 'ext3' }],
  ['41 36 0:52 / /dev/dri rw shared:7 master:2 - fuse.x x rw', { id: '41', device: '0:52', type: 'fuse.x' }],
  ['42 36 0:53 / /with\\040space\\040-\\040x rw - tmpfs t rw', { id: '42', device: '0:53', type: 'tmpfs' }],
  ['', undefined],
])('parseMount() reads number, device and type of %j', (line, mount) => {
  expect(parseMount(line)).toEqual(mount);
});
