import { describe, expect, test } from '@jest/globals';
import type { DeviceNode } from '../kernel/engine.ts';
import type { Allocation } from '../kubelet/checkpoint.ts';
import type { Finding, Host } from './driver.ts';
import { generic } from './generic.ts';

const CARD: DeviceNode = {
  path: '/dev/dri/card0',
  type: 'c',
  major: 226,
  minor: 0,
  access: 'rwm',
  mode: 0o660,
  uid: 0,
  gid: 44,
};
const HOST: Host = {
  device: () => {
    throw new Error('asked');
  },
  paths: () => [],
};

function allocation(...named: readonly string[]): Allocation {
  const devices = named.map((path) => ({ containerPath: path, hostPath: path, permissions: 'rw' }));
  return { podUid: 's', container: 'c', resource: 'v.com/gpu', deviceIds: ['g0'], devices, cdiDevices: [], envs: {} };
}

function finding(live: readonly DeviceNode[], ...allocations: readonly Allocation[]): Finding {
  return { slave: { namespace: 'd', name: 'web-slave-0', uid: 's' }, allocations, live };
}

describe('generic.devicesOf()', () => {
  test('takes what the running slave has, without the right to make nodes', () => {
    expect(generic.devicesOf([finding([CARD], allocation())], HOST)).toEqual([
      { id: 'g0', resource: 'v.com/gpu', nodes: [{ ...CARD, access: 'rw' }] },
    ]);
  });

  test('accepts a directory that the plugin names', () => {
    expect(generic.devicesOf([finding([CARD], allocation('/dev/dri'))], HOST)).toHaveLength(1);
  });

  test('names the pod where the kubelet knows no device', () => {
    expect(generic.devicesOf([finding([CARD])], HOST)).toMatchObject([{ id: 'web-slave-0', resource: 'pod' }]);
  });

  test.each([
    ['without nodes', [], [allocation()], 'without device nodes of its own'],
    ['that may only make nodes', [{ ...CARD, access: 'm' }], [allocation()], 'without device nodes of its own'],
    [
      'that lacks what the plugin names',
      [CARD],
      [allocation('/dev/kfd')],
      'names /dev/kfd, the running slave has /dev/dri/card0',
    ],
  ])('refuses a slave %s', (_name, live, allocations, message) => {
    expect(() => generic.devicesOf([finding(live, ...allocations)], HOST)).toThrow(message);
  });
});
