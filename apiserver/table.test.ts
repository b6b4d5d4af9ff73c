import { expect, test } from '@jest/globals';
import type { DeviceMount, MountedDevice } from '../contract/device-mount.ts';
import { tableOf } from './table.ts';

const GPU = 'GPU-5f3c0b1e-9d2a-4c57-8e61-0a7b3c9d2e4f';
const device = (id: string, ...paths: string[]): MountedDevice => ({
  id,
  resource: 'example.com/gpu',
  nodes: paths.map((path) => ({ path })),
});

function devicesCell(devices: readonly MountedDevice[], phase: DeviceMount['status']['phase'] = 'Mounted') {
  const mount = {
    metadata: { name: 'm', creationTimestamp: '2026-01-01T00:00:00Z' },
    spec: { resources: { 'example.com/gpu': '2' } },
    status: { phase, devices, slaves: [] },
  } as unknown as DeviceMount;
  const now = new Date('2026-01-01T00:01:00Z');
  const { columnDefinitions, rows } = tableOf([mount], {}, { includeObject: 'None', columns: true }, now);
  return rows[0]?.cells[columnDefinitions.findIndex(({ name }) => name === 'Devices')];
}

test.each([
  ['the path of a device', devicesCell([device(GPU, '/dev/nvidia0', '/dev/nvidiactl')]), '/dev/nvidia0'],
  ['the id of one without a node', devicesCell([device(GPU)]), GPU],
  ['each of several', devicesCell([device('0', '/dev/a'), device('1', '/dev/b')]), '/dev/a,/dev/b'],
  ['what is asked for while there is none', devicesCell([], 'Pending'), '(example.com/gpu=2)'],
  ['nothing at the end', devicesCell([], 'Released'), '<none>'],
])('tableOf() shows %s', (_name, cell, expected) => {
  expect(cell).toBe(expected);
});
