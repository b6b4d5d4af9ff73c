import { describe, expect, test } from '@jest/globals';
import type { Grant, GrantedDevice, Inspection } from '../kernel/engine.ts';
import { inspectionReport } from './report.ts';

const FUSE: GrantedDevice = {
  path: '/dev/fuse',
  type: 'c',
  major: 10,
  minor: 229,
  access: 'rw',
  mode: 0o666,
  uid: 0,
  gid: 0,
  accessBefore: '',
  node: 'made',
  listedBefore: {},
  madeDirectories: [],
};
const CARD: GrantedDevice = { ...FUSE, path: '/dev/dri/card0', major: 226, minor: 0 };
const NULL = { ...FUSE, path: '/dev/null', major: 1, minor: 3, access: 'rwm', ours: false };
const INSPECTION: Inspection = {
  containerId: 'abc',
  pid: 42,
  cgroup: { version: 2, path: '/sys/fs/cgroup/x.scope', initPath: '/sys/fs/cgroup/x.scope/container' },
  dev: 'own',
  policies: [
    {
      cgroup: '/sys/fs/cgroup/x.scope',
      programId: 7,
      name: 'dm_sd_devices',
      tag: 'b2c0b2c5432dcbd0',
      instructions: 78,
      ours: [FUSE],
      readable: true,
    },
  ],
  nodes: [{ ...FUSE, ours: true }, { ...CARD, access: '', ours: false }, NULL],
};
const grantOf = (owner: string, ...devices: readonly GrantedDevice[]): Grant => ({
  owner,
  containerId: 'abc',
  devices,
});

describe('inspectionReport()', () => {
  test('says what a container may open, what is ours, and why', () => {
    const report = inspectionReport(INSPECTION, [
      grantOf('default/a', FUSE),
      { ...grantOf('default/b', CARD), containerId: 'other' },
    ]);
    expect(report).toBe(`container  abc
process    42
cgroup     v2 /sys/fs/cgroup/x.scope (its init in /container)
/dev       the container's own: nodes are made in it

program 7 "dm_sd_devices" of /sys/fs/cgroup/x.scope: tag b2c0b2c5432dcbd0, 78 instructions
  ours: c 10:229 rw

NODE            DEVICE    ACCESS  WHY
/dev/fuse       c 10:229  rw      ours: default/a (rw)
/dev/dri/card0  c 226:0   -       refused by its policy
/dev/null       c 1:3     rwm     allowed before us
`);
  });

  test.each([
    ['what others took back', [grantOf('default/a', CARD)], 'default/a (rw); TAKEN BACK by others'],
    [
      'a node that is gone',
      [grantOf('default/a', { ...FUSE, path: '/dev/kvm', minor: 232 })],
      'MISSING /dev/kvm (c 10:232) of default/a',
    ],
    ['what was there before', [grantOf('default/a', { ...FUSE, accessBefore: 'r' })], 'had r before'],
    ['all owners', [grantOf('default/a', FUSE), grantOf('default/b', FUSE)], 'default/a (rw), default/b (rw)'],
  ])('tells %s', (_, grants, text) => {
    expect(inspectionReport(INSPECTION, grants)).toContain(text);
  });

  test('shows lists of cgroup v1 and hidden programs', () => {
    const [program] = INSPECTION.policies;
    const policies = [
      { cgroup: '/c', list: ['c 1:3 rwm'] },
      { ...program, readable: false },
    ] as Inspection['policies'];
    const report = inspectionReport({ ...INSPECTION, policies }, []);
    expect(report).toContain('devices.list of /c\n  c 1:3 rwm\n');
    expect(report).toContain('instructions hidden by the kernel');
  });
});
