import { describe, expect, test } from '@jest/globals';
import { allocationOf, memoryHost } from '../../test/node-worker/memory-host.ts';
import type { AllocatedDevice } from './driver.ts';
import { hostdev } from './hostdev.ts';

const HOST = memoryHost({}, { '/dev/real-fuse': 'c 10:229', '/dev/dri/card0': 'c 226:0', '/dev/dri/by/x': 'c 226:1' });
const FUSE = { type: 'c', major: 10, minor: 229, mode: 0o666, uid: 0, gid: 0 };

function devicesOf(
  permissions: string,
  ids: readonly string[],
  hostPath = '/dev/real-fuse',
): readonly AllocatedDevice[] {
  const slave = { namespace: 'd', name: 's', uid: 's' };
  const devices = [{ containerPath: '/dev/fuse', hostPath, permissions }];
  return hostdev.devicesOf({ slave, allocations: [allocationOf('h/fuse', ids, { devices })] }, HOST);
}

describe('hostdev.devicesOf()', () => {
  test('takes numbers and mode of the host’s node and the path of the container', () => {
    expect(devicesOf('mwr', ['/dev/fuse'])).toEqual([
      { id: '/dev/fuse', resource: 'h/fuse', nodes: [{ ...FUSE, path: '/dev/fuse', access: 'rwm' }] },
    ]);
  });

  test('gives the nodes of an answer to each of its devices', () => {
    expect(devicesOf('r', ['a', 'b']).map(({ id, nodes }) => [id, nodes.length])).toEqual([
      ['a', 1],
      ['b', 1],
    ]);
  });

  test('gives devices whose ids are paths their own nodes, and the others the rest', () => {
    const devices = ['/dev/real-fuse', '/dev/dri'].map((path) => ({
      containerPath: path,
      hostPath: path,
      permissions: 'rw',
    }));
    const ids = ['/dev/real-fuse::0', '/dev/real-fuse::1', '/dev/dri/card0', 'other', '/dev/gone'];
    const finding = {
      slave: { namespace: 'd', name: 's', uid: 's' },
      allocations: [allocationOf('h/x', ids, { devices })],
    };
    expect(hostdev.devicesOf(finding, HOST).map(({ nodes }) => nodes.map(({ path }) => path))).toEqual([
      ['/dev/real-fuse', '/dev/dri/by/x'],
      ['/dev/real-fuse', '/dev/dri/by/x'],
      ['/dev/dri/card0', '/dev/dri/by/x'],
      ['/dev/dri/by/x'],
      ['/dev/dri/by/x'],
    ]);
  });

  test.each(['', 'x', 'rr', 'rwx'])('refuses the permissions "%s"', (permissions) => {
    expect(() => devicesOf(permissions, ['a'])).toThrow('must be some of r, w, m');
  });

  test('refuses an answer without nodes', () => {
    const finding = { slave: { namespace: 'd', name: 's', uid: 's' }, allocations: [allocationOf('h/fuse', ['a'])] };
    expect(() => hostdev.devicesOf(finding, HOST)).toThrow('names none');
  });

  test('gives each node of a directory its place below the path in the container', () => {
    const [device] = devicesOf('rw', ['a'], '/dev/dri');
    expect(device?.nodes.map(({ path }) => path)).toEqual(['/dev/fuse/card0', '/dev/fuse/by/x']);
  });
});
