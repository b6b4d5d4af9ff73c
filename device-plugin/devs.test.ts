import { describe, expect, test } from '@jest/globals';
import { parseDevs } from './devs.ts';

describe('parseDevs()', () => {
  test('names resource and device after the path', () => {
    expect(parseDevs('/dev/fuse:rwm, /dev/net/tun:rw')).toEqual({
      devs: [
        { path: '/dev/fuse', permissions: 'rwm', resource: 'hostdev.k8s.io/dev_fuse', ids: ['/dev/fuse'] },
        { path: '/dev/net/tun', permissions: 'rw', resource: 'hostdev.k8s.io/dev_net_tun', ids: ['/dev/net/tun'] },
      ],
      problems: [],
    });
  });

  test('offers a device as often as its count says', () => {
    expect(parseDevs('/dev/fuse:rw:3').devs[0]?.ids).toEqual(['/dev/fuse', '/dev/fuse::1', '/dev/fuse::2']);
  });

  test('takes a path with colons', () => {
    expect(parseDevs('/dev/serial/by-path/pci-0:1.0:r:2').devs).toEqual([
      {
        path: '/dev/serial/by-path/pci-0:1.0',
        permissions: 'r',
        resource: 'hostdev.k8s.io/dev_serial_by-path_pci-0_1.0',
        ids: ['/dev/serial/by-path/pci-0:1.0', '/dev/serial/by-path/pci-0:1.0::1'],
      },
    ]);
  });

  test.each([
    ['', 'no device is named'],
    ['/dev/fuse', 'must be <path>:<permissions>[:<count>]'],
    ['/dev/fuse:rwx', 'permissions must be some of r, w, m, is "rwx"'],
    ['/dev/fuse:rr', 'permissions must be some of r, w, m, is "rr"'],
    ['/etc/passwd:r', 'the path must lie below /dev'],
    ['/dev/../etc/x:r', 'the path must lie below /dev'],
    ['/dev:r', 'the path must lie below /dev'],
    ['/dev/fuse:rw:0', 'the count must be from 1 to 1000'],
    ['/dev/fuse:rw:1001', 'the count must be from 1 to 1000'],
    ['/dev/a_b:r,/dev/a/b:r', 'another entry is offered as hostdev.k8s.io/dev_a_b already'],
  ])('refuses "%s"', (text, problem) => {
    expect(parseDevs(text).problems.join('\n')).toContain(problem);
  });
});
