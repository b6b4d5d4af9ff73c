import { describe, expect, test } from '@jest/globals';
import { parseDevs } from './devs.ts';

describe('parseDevs()', () => {
  test('names the resource after the path', () => {
    expect(parseDevs('/dev/fuse:rwm, /dev/net/tun:rw')).toEqual({
      devs: [
        {
          resource: 'hostdev.k8s.io/dev_fuse',
          count: 1,
          nodes: [{ path: '/dev/fuse', permissions: 'rwm', optional: false }],
        },
        {
          resource: 'hostdev.k8s.io/dev_net_tun',
          count: 1,
          nodes: [{ path: '/dev/net/tun', permissions: 'rw', optional: false }],
        },
      ],
      problems: [],
    });
  });

  test('takes a path with colons, and a count', () => {
    expect(parseDevs('/dev/serial/by-path/pci-0:1.0:r:2').devs).toMatchObject([
      {
        resource: 'hostdev.k8s.io/dev_serial_by-path_pci-0_1.0',
        count: 2,
        nodes: [{ path: '/dev/serial/by-path/pci-0:1.0', permissions: 'r' }],
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
