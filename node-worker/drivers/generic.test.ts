import { describe, expect, test } from '@jest/globals';
import { allocationOf, memoryHost } from '../../test/node-worker/memory-host.ts';
import type { DeviceNode } from '../kernel/engine.ts';
import type { Allocation } from '../kubelet/checkpoint.ts';
import type { AllocatedDevice } from './driver.ts';
import { generic } from './generic.ts';
import { nodesText } from './nodes-text.ts';

const node = (path: string, minor: number, access = 'rwm'): DeviceNode => ({
  path,
  type: 'c',
  major: 226,
  minor,
  access,
  mode: 0o660,
  uid: 0,
  gid: 44,
});
const CARD0 = node('/dev/dri/card0', 0);
const CARD1 = node('/dev/dri/card1', 1);
const CTL = node('/dev/dri/ctl', 9);

const edits = (...paths: readonly string[]): object => ({ deviceNodes: paths.map((path) => ({ path })) });
const SPEC = {
  cdiVersion: '1.0.0',
  kind: 'v.com/gpu',
  devices: ['0', '1'].map((name) => ({ name, containerEdits: edits(`/dev/dri/card${name}`) })),
  containerEdits: edits('/dev/dri/ctl'),
};
const HOST = memoryHost(
  { '/etc/cdi/v.json': JSON.stringify(SPEC) },
  { '/dev/dri/card0': 'c 226:0', '/dev/dri/card1': 'c 226:1', '/dev/dri/ctl': 'c 226:9', '/dev/odd': 'c 1:3' },
);

const RESOURCE = 'v.com/gpu';
const CDI = { cdiDevices: ['v.com/gpu=0', 'v.com/gpu=1'] };
const spec = (containerPath: string, hostPath = containerPath, permissions = 'rw') => ({
  devices: [{ containerPath, hostPath, permissions }],
});

function devicesOf(live: readonly DeviceNode[], ...allocations: readonly Allocation[]): readonly AllocatedDevice[] {
  const slave = { namespace: 'd', name: 'web-slave-0', uid: 's' };
  return generic.devicesOf({ slave, allocations, live }, HOST);
}

describe('generic.devicesOf()', () => {
  test('takes what the running slave has, without the right to make nodes', () => {
    expect(devicesOf([CARD0], allocationOf(RESOURCE, ['g0']))).toEqual([
      { id: 'g0', resource: RESOURCE, nodes: [{ ...CARD0, access: 'rw' }] },
    ]);
  });

  test.each([
    ['a directory', [CARD0, CARD1, CTL], spec('/dev/dri')],
    ['a directory that has got another node since the slave started', [CARD0, CTL], spec('/dev/dri')],
    ['a node with fewer rights than the slave has', [CARD0], spec('/dev/dri/card0', undefined, 'r')],
    ['the same nodes by its specs and by CDI', [CARD0, CARD1, CTL], { ...CDI, ...spec('/dev/dri/card0') }],
  ])('accepts that the plugin names %s', (_name, live, answer) => {
    expect(devicesOf(live, allocationOf(RESOURCE, ['g0'], answer))[0]?.nodes).toHaveLength(live.length);
  });

  test('gives each device its own nodes where CDI knows it by its id, and the others to all', () => {
    const devices = devicesOf([CARD0, CARD1, CTL], allocationOf(RESOURCE, ['0', '1'], CDI));
    expect(devices.map(({ id, nodes }) => [id, nodesText(nodes)])).toEqual([
      ['0', '/dev/dri/card0 (c 226:0 rw), /dev/dri/ctl (c 226:9 rw)'],
      ['1', '/dev/dri/card1 (c 226:1 rw), /dev/dri/ctl (c 226:9 rw)'],
    ]);
  });

  test('gives each claimed device its own nodes, and the others to all', () => {
    const slave = { namespace: 'd', name: 'web-slave-0', uid: 's' };
    const claimed = ['0', '1'].map((id) => ({
      id: `v.com/n/${id}`,
      resource: 'resourceclaim:gpus',
      cdiDevices: [`v.com/gpu=${id}`],
    }));
    const devices = generic.devicesOf({ slave, allocations: [], claimed, live: [CARD0, CARD1, CTL] }, HOST);
    expect(devices.map(({ id, nodes }) => [id, nodesText(nodes)])).toEqual([
      ['v.com/n/0', '/dev/dri/card0 (c 226:0 rw), /dev/dri/ctl (c 226:9 rw)'],
      ['v.com/n/1', '/dev/dri/card1 (c 226:1 rw), /dev/dri/ctl (c 226:9 rw)'],
    ]);
  });

  const granted = {
    mounts: [{ containerPath: '/lib/v', hostPath: '/opt', readOnly: true }],
    envs: { TOKEN: 'secret' },
  };

  test.each([
    [
      'with nodes that nobody has allocated',
      [CARD0],
      undefined,
      'neither a device plugin nor a claim has given it a device',
    ],
    ['whose plugin has granted nothing', [], {}, 'has granted no device node, only nothing'],
    ['that may only make nodes', [node('/dev/dri/card0', 0, 'm')], {}, 'has granted no device node'],
    ['with other things', [], granted, 'only mount /lib/v, environment TOKEN'],
    [
      'that lacks what the plugin names',
      [CARD0],
      spec('/dev/dri/card1'),
      'names /dev/dri/card1 (c 226:1 rw), the running slave has /dev/dri/card0 (c 226:0 rw)',
    ],
    ['that has none of it', [], spec('/dev/dri/card1'), 'the running slave has none'],
    ['that has nothing of a directory', [node('/dev/x', 3)], spec('/dev/dri'), 'the running slave has /dev/x'],
    [
      'that has another device in a directory',
      [CTL, node('/dev/dri/card0', 7)],
      spec('/dev/dri'),
      'names /dev/dri/card0',
    ],
    ['that has another device there', [CARD0], spec('/dev/dri/card0', '/dev/odd'), 'names /dev/dri/card0 (c 1:3 rw)'],
    ['that may only read', [node('/dev/dri/card0', 0, 'r')], spec('/dev/dri/card0'), 'has /dev/dri/card0 (c 226:0 r)'],
    ['that lacks what CDI names', [CARD0, CTL], CDI, 'names /dev/dri/card0 (c 226:0 rwm), /dev/dri/ctl'],
    [
      'whose plugin and CDI spec differ',
      [CARD0, CARD1, CTL],
      { ...CDI, ...spec('/dev/dri/card0', '/dev/odd') },
      'the device plugin names /dev/dri/card0 (c 1:3 rw), CDI spec /etc/cdi/v.json names /dev/dri/card0 (c 226:0 rwm)',
    ],
  ])('refuses a slave %s', (_name, live, answer, message) => {
    const allocations = answer === undefined ? [] : [allocationOf(RESOURCE, ['0'], answer)];
    expect(() => devicesOf(live, ...allocations)).toThrow(message);
  });

  test('tells what a CDI spec gives that has no device node', () => {
    const containerEdits = { env: ['GPU_DEVICE_0=secret'], mounts: [{ hostPath: '/a', containerPath: '/opt/v' }] };
    const spec = { cdiVersion: '0.6.0', kind: 'v.com/claim', devices: [{ name: '0', containerEdits }] };
    const host = memoryHost({ '/var/run/cdi/v.json': JSON.stringify(spec) });
    const claimed = [{ id: 'v.com/n/0', resource: 'resourceclaim:gpu', cdiDevices: ['v.com/claim=0'] }];
    const slave = { namespace: 'd', name: 'web-slave-0', uid: 's' };
    expect(() => generic.devicesOf({ slave, allocations: [], claimed, live: [] }, host)).toThrow(
      'Cannot attach resourceclaim:gpu: its driver has granted no device node, only ' +
        'CDI device v.com/claim=0 (environment GPU_DEVICE_0, mount /opt/v)',
    );
  });

  test('tells no value of the environment', () => {
    expect(() => devicesOf([], allocationOf(RESOURCE, ['0'], granted))).not.toThrow('secret');
  });
});
