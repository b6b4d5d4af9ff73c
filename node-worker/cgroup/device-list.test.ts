import { describe, expect, test } from '@jest/globals';
import { exactAccess, listAllows, listedAccess, parseDeviceList } from './device-list.ts';
import { accessLetters } from './rule.ts';

// Captured from a container of runc 1.4.3 on Linux 6.18.
const RUNC = `b *:* m
c *:* m
c 1:3 rwm
c 1:5 rwm
c 1:7 rwm
c 1:8 rwm
c 1:9 rwm
c 5:0 rwm
c 5:2 rwm
c 10:200 rwm
c 136:* rwm
`;

describe('parseDeviceList()', () => {
  test('reads the list of a container and of an unrestricted cgroup', () => {
    expect(parseDeviceList(RUNC)).toHaveLength(11);
    expect(parseDeviceList('a *:* rwm\n')).toEqual([{ type: 'a', major: '*', minor: '*', access: 7 }]);
  });

  test('refuses a line it does not know', () => {
    expect(() => parseDeviceList('c 1:3\n')).toThrow('line is "c 1:3"');
  });
});

describe('listedAccess()', () => {
  test.each([
    ['c', 1, 3, 'rwm'],
    ['c', 136, 7, 'rwm'],
    ['c', 10, 229, 'm'],
    ['b', 1, 3, 'm'],
  ] as const)('gives what the list says of %s %i:%i', (type, major, minor, access) => {
    expect(accessLetters(listedAccess(parseDeviceList(RUNC), { type, major, minor }))).toBe(access);
  });

  test('does not add up entries for one open', () => {
    const list = parseDeviceList('c 10:* r\nc 10:229 w\n');
    const fuse = { type: 'c', major: 10, minor: 229 } as const;
    expect(accessLetters(listedAccess(list, fuse))).toBe('r');
    expect(listAllows(list, fuse, 4)).toBe(true);
    expect(listAllows(list, fuse, 6)).toBe(false);
    expect(accessLetters(exactAccess(list, fuse))).toBe('w');
  });
});
