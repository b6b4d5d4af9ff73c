import { describe, expect, test } from '@jest/globals';
import type { HostDevice } from '../kernel/engine.ts';
import type { Allocation } from '../kubelet/checkpoint.ts';
import type { Finding, Host } from './driver.ts';
import { hostdev } from './hostdev.ts';

const FUSE: HostDevice = { type: 'c', major: 10, minor: 229, mode: 0o666, uid: 0, gid: 0 };

const slave = { namespace: 'd', name: 's', uid: 's' };
const HOST: Host = { device: () => FUSE, paths: (path) => [{ rest: '', hostPath: path }] };

/** Two device nodes in a directory. */
const paths: Host['paths'] = (path) => [
  { rest: '/card0', hostPath: `${path}/card0` },
  { rest: '/by/x', hostPath: `${path}/by/x` },
];

function finding(permissions: string, ...deviceIds: readonly string[]): Finding {
  return { slave, allocations: [allocation(permissions, deviceIds)], live: [] };
}

function allocation(permissions: string, deviceIds: readonly string[]): Allocation {
  const devices = [{ containerPath: '/dev/fuse', hostPath: '/dev/real-fuse', permissions }];
  return { podUid: 's', container: 'slave', resource: 'h/fuse', deviceIds, devices, cdiDevices: [], envs: {} };
}

describe('hostdev.devicesOf()', () => {
  test('takes numbers and mode of the host’s node and the path of the container', () => {
    const asked: string[] = [];
    const devices = hostdev.devicesOf([finding('mwr', '/dev/fuse')], {
      ...HOST,
      device: (path) => {
        asked.push(path);
        return FUSE;
      },
    });
    expect(devices).toEqual([
      { id: '/dev/fuse', resource: 'h/fuse', nodes: [{ ...FUSE, path: '/dev/fuse', access: 'rwm' }] },
    ]);
    expect(asked).toEqual(['/dev/real-fuse']);
  });

  test('gives the nodes of an answer to each of its devices', () => {
    const devices = hostdev.devicesOf([finding('r', 'a', 'b')], HOST);
    expect(devices.map(({ id, nodes }) => [id, nodes.length])).toEqual([
      ['a', 1],
      ['b', 1],
    ]);
  });

  test.each(['', 'x', 'rr', 'rwx'])('refuses the permissions "%s"', (permissions) => {
    expect(() => hostdev.devicesOf([finding(permissions, 'a')], HOST)).toThrow('must be some of r, w, m');
  });

  test('refuses an answer without nodes', () => {
    expect(() =>
      hostdev.devicesOf([{ slave, allocations: [{ ...allocation('r', ['a']), devices: [] }], live: [] }], HOST),
    ).toThrow('names none');
  });

  test('gives each node of a directory its place below the path in the container', () => {
    const [device] = hostdev.devicesOf([finding('rw', 'a')], { ...HOST, paths });
    expect(device?.nodes.map(({ path }) => path)).toEqual(['/dev/fuse/card0', '/dev/fuse/by/x']);
  });
});
