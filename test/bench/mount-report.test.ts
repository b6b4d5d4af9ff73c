import { expect, test } from '@jest/globals';
import { type MountTimes, mountFigures, mountTables } from './mount-report.ts';
import { GROUPS, type ProcessorTime } from './processor-time.ts';

/** 20 values of which one is `slowest`. */
const around = (middle: number, slowest: number): number[] => [slowest, ...Array.from({ length: 19 }, () => middle)];

const TIMES: MountTimes = {
  node: 'node-2',
  cgroup: 2,
  times: {
    'bare-pod': around(400, 900),
    hostdev: around(120, 200),
    generic: around(430, 500),
    unmount: around(60, 150),
    original: around(700, 800),
  },
  processorTime: Object.fromEntries(GROUPS.map((group, index) => [group, index])) as ProcessorTime,
};

test('mountFigures() sets goals by the start of a bare pod, and the slowest requests by the middle ones', () => {
  const missed = mountFigures(TIMES).filter(({ ok }) => !ok);
  expect(missed.map(({ name, value, goal }) => `${name} ${value} ${goal}`)).toEqual([
    'mount.node-2.v2.unmount.p95 150 <= 120',
    'mount.node-2.v2.hostdev-to-bare-pod 0.3 <= 0.25',
  ]);
});

test('mountFigures() has the processor time of each group and of all', () => {
  const found = mountFigures(TIMES).filter(({ name }) => name.includes('processor-time'));
  expect(found[1]).toMatchObject({ name: 'mount.node-2.v2.processor-time.control-workers', value: 1, unit: 'ms' });
  expect(found.at(-1)).toMatchObject({ name: 'mount.node-2.v2.processor-time', value: 55 });
});

test('mountTables() has a column for each node', () => {
  const [times = '', processorTime = ''] = mountTables([TIMES, { ...TIMES, node: 'node-3' }]).split('\n\n');
  expect(times.split('\n').map((line) => line.split('|').map((cell) => cell.trim()))).toEqual([
    ['', 'figure: p50 (p95)', 'node-2 (v2)', 'node-3 (v2)', 'goal', ''],
    expect.anything(),
    ['', 'start of a bare pod', '400 ms (900)', '400 ms (900)', '', ''],
    ['', 'mount, device nodes known at admission (`HOSTDEV`)', '120 ms (200)', '120 ms (200)', '', ''],
    ['', 'mount, waiting for the running slave (`GENERIC`)', '430 ms (500)', '430 ms (500)', '', ''],
    ['', 'unmount, until the device is gone', '60 ms (150)', '60 ms (150)', '', ''],
    ['', "mount by the original's steps", '700 ms (800)', '700 ms (800)', '', ''],
    ['', "`HOSTDEV` of a bare pod's start", '0.30', '0.30', '≤ 0.25', ''],
    ['', "`GENERIC` of a bare pod's start", '1.07', '1.07', '≤ 1.10', ''],
    ['', "unmount of a bare pod's start", '0.15', '0.15', '≤ 0.20', ''],
  ]);
  expect(processorTime).toMatch(/\| all +\| 55 ms +\| 55 ms +\|$/);
});
