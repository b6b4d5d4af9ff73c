import { describe, expect, test } from '@jest/globals';
import type { HostDevice } from '../kernel/engine.ts';
import type { Allocation } from '../kubelet/checkpoint.ts';
import { hostdev } from './hostdev.ts';

const FUSE: HostDevice = { type: 'c', major: 10, minor: 229, mode: 0o666, uid: 0, gid: 0 };

function allocation(permissions: string, ...deviceIds: readonly string[]): Allocation {
  const devices = [{ containerPath: '/dev/fuse', hostPath: '/dev/real-fuse', permissions }];
  return { podUid: 's', container: 'slave', resource: 'h/fuse', deviceIds, devices, cdiDevices: [], envs: {} };
}

describe('hostdev.devicesOf()', () => {
  test('takes numbers and mode of the host’s node and the path of the container', () => {
    const asked: string[] = [];
    const devices = hostdev.devicesOf([allocation('mwr', '/dev/fuse')], (path) => {
      asked.push(path);
      return FUSE;
    });
    expect(devices).toEqual([
      { id: '/dev/fuse', resource: 'h/fuse', nodes: [{ ...FUSE, path: '/dev/fuse', access: 'rwm' }] },
    ]);
    expect(asked).toEqual(['/dev/real-fuse']);
  });

  test('gives the nodes of an answer to each of its devices', () => {
    const devices = hostdev.devicesOf([allocation('r', 'a', 'b')], () => FUSE);
    expect(devices.map(({ id, nodes }) => [id, nodes.length])).toEqual([
      ['a', 1],
      ['b', 1],
    ]);
  });

  test.each(['', 'x', 'rr', 'rwx'])('refuses the permissions "%s"', (permissions) => {
    expect(() => hostdev.devicesOf([allocation(permissions, 'a')], () => FUSE)).toThrow('must be some of r, w, m');
  });

  test('refuses an answer without nodes', () => {
    expect(() => hostdev.devicesOf([{ ...allocation('r', 'a'), devices: [] }], () => FUSE)).toThrow('names none');
  });
});
