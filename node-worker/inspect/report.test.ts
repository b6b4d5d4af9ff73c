import { describe, expect, test } from '@jest/globals';
import type { GrantedDevice, Inspection } from '../kernel/engine.ts';
import type { MountRecord } from '../state/mount-record.ts';
import { disagreements, inspectionReport } from './report.ts';

const FUSE: GrantedDevice = {
  path: '/dev/fuse',
  type: 'c',
  major: 10,
  minor: 229,
  access: 'rw',
  mode: 0o666,
  uid: 0,
  gid: 0,
  accessBefore: 'm',
  node: 'made',
  listedBefore: {},
  madeDirectories: [],
};
const KVM: GrantedDevice = { ...FUSE, path: '/dev/kvm', minor: 232 };
const node = (device: GrantedDevice, access: string, kernel = access) => ({ ...device, access, kernel, ours: false });
const CARD = node({ ...FUSE, path: '/dev/dri/card0', major: 226, minor: 0 }, '');
const NULL = node({ ...FUSE, path: '/dev/null', major: 1, minor: 3 }, 'rwm');
const TUN = { type: 'c', major: 10, minor: 200, access: 'rwm', kernel: 'rwm' } as const;
const PROGRAM = {
  cgroup: '/sys/fs/cgroup/x.scope',
  programId: 7,
  name: 'dm_sd_devices',
  tag: 'b2c0b2c5432dcbd0',
  instructions: 78,
  ours: [FUSE],
  readable: true,
} as const;
const INSPECTION: Inspection = {
  containerId: 'abc',
  pid: 42,
  cgroup: { version: 2, path: '/sys/fs/cgroup/x.scope', initPath: '/sys/fs/cgroup/x.scope/container' },
  dev: 'own',
  policies: [PROGRAM],
  nodes: [node(FUSE, 'rwm'), CARD, NULL],
  others: [TUN, { ...TUN, minor: 1, access: 'm', kernel: 'm' }],
};

function recordOf(name: string, device: GrantedDevice, change: Partial<MountRecord> = {}): MountRecord {
  const record = {
    mount: { namespace: 'default', name },
    phase: 'attached',
    containerId: 'abc',
    signed: { request: { user: { name: 'jane' } } },
    devices: [{ id: device.path, resource: 'h/x', grant: { devices: [device] } }],
    ...change,
  };
  return record as unknown as MountRecord;
}

describe('inspectionReport()', () => {
  test('says what a container may open, what is ours, and why', () => {
    const records = [recordOf('a', FUSE), recordOf('b', KVM, { containerId: 'other' })];
    expect(inspectionReport(INSPECTION, records, new Map([['c 10:200', '/dev/net/tun']]))).toBe(`container  abc
process    42
cgroup     v2 /sys/fs/cgroup/x.scope (its init in /container)
/dev       the container's own: nodes are made in it
kernel     asked
agreement  yes

NODE            DEVICE    KERNEL  READ  WHY
/dev/fuse       c 10:229  rwm     rwm   ours: mount default/a of jane, h/x /dev/fuse
/dev/dri/card0  c 226:0   -       -     not ours: refused by its own policy
/dev/null       c 1:3     rwm     rwm   not ours: allowed by its own policy

without a node, where the container could make one:
HOST          DEVICE    KERNEL  READ  WHY
/dev/net/tun  c 10:200  rwm     rwm   not ours: allowed by its own policy

program 7 "dm_sd_devices" of /sys/fs/cgroup/x.scope: tag b2c0b2c5432dcbd0, 78 instructions
  ours: c 10:229 rw
`);
  });

  test('names the files that were mounted, once for each mount', () => {
    const files = ['mount', 'link'].map((kind) => ({ path: `/usr/lib/a.${kind}`, kind, name: 'made' }));
    const devices = ['0', '1'].map((id) => ({ id, resource: 'h/x', grant: { devices: [], files } }));
    const change = { devices } as unknown as Partial<MountRecord>;
    const gone = recordOf('c', FUSE, { ...change, phase: 'revoked' });
    const report = inspectionReport(INSPECTION, [recordOf('a', FUSE, change), recordOf('b', FUSE, change), gone]);
    expect(report.split('\n').filter((line) => line.startsWith('FILE'))).toEqual([
      'FILE /usr/lib/a.mount, mounted for mount default/a of jane',
      'FILE /usr/lib/a.mount, mounted for mount default/b of jane',
    ]);
  });

  const lost = { ...INSPECTION, nodes: [node(FUSE, 'm')] };
  test.each([
    ['what others took back', lost, [recordOf('a', FUSE)], '/dev/fuse; TAKEN BACK by others'],
    [
      'a /dev that is read-only',
      { ...INSPECTION, dev: 'read-only' } as const,
      [],
      '/dev       read-only, and stays so: nodes are made in it all the same\n',
    ],
    ['a node that is gone', INSPECTION, [recordOf('a', KVM)], 'MISSING /dev/kvm (c 10:232), given to mount default/a'],
    ['what was there before', INSPECTION, [recordOf('a', { ...FUSE, accessBefore: 'rm' })], '; had r before\n'],
    [
      'all owners',
      INSPECTION,
      [recordOf('a', FUSE), recordOf('b', FUSE)],
      'default/a of jane, h/x /dev/fuse; mount default/b of jane',
    ],
    ['what is only being attached', INSPECTION, [recordOf('a', FUSE, { phase: 'attaching' })], '/dev/fuse (attaching)'],
    [
      'what is still used after it was taken back',
      INSPECTION,
      [
        recordOf('a', FUSE, { phase: 'revoked', leftToDo: 'endUsers' }),
        recordOf('b', KVM, { phase: 'revoked', leftToDo: 'endUsers', containerId: 'other' }),
      ],
      'allowed by its own policy\nSTILL USED /dev/fuse (c 10:229), taken back from mount default/a of jane, h/x /dev/fuse\n\n',
    ],
    ['nothing of what was revoked', INSPECTION, [recordOf('a', FUSE, { phase: 'revoked' })], 'rwm   not ours: allowed'],
    [
      'a list of cgroup v1',
      { ...INSPECTION, policies: [{ cgroup: '/c', list: ['c 1:3 rwm'] }] },
      [],
      'devices.list of /c\n  c 1:3 rwm\n',
    ],
    [
      'that a list that allows all hides what it refuses',
      { ...INSPECTION, policies: [{ cgroup: '/c', list: ['a *:* rwm'] }] },
      [],
      'does not tell)\n  a *:* rwm\n',
    ],
    [
      'a program that the kernel hides',
      { ...INSPECTION, policies: [{ ...PROGRAM, instructions: 0, ours: [], readable: false }] },
      [],
      'tag b2c0b2c5432dcbd0, instructions hidden by the kernel\n  cannot be read\n',
    ],
    [
      'that it could not ask the kernel',
      { ...INSPECTION, nodes: [node(FUSE, 'rwm', '?')], unasked: 'mkdir: EROFS' },
      [],
      'kernel     not asked: mkdir: EROFS\n\n',
    ],
    [
      'a disagreement',
      { ...INSPECTION, nodes: [node(FUSE, 'rwm', 'm')] },
      [],
      'agreement  NO, on 1 of the devices below\n\nNODE       DEVICE    KERNEL  READ  WHY\n/dev/fuse  c 10:229  m       rwm   DISAGREEMENT; not ours: refused',
    ],
  ] satisfies readonly (readonly [string, Inspection, readonly MountRecord[], string])[])(
    'tells %s',
    (_, inspection, records, text) => {
      expect(inspectionReport(inspection, records)).toContain(text);
    },
  );
});

describe('disagreements()', () => {
  test.each([
    ['two answers that are the same', 'rw', 'rw', 0],
    ['two that differ', 'rw', 'r', 1],
    ['rules that cannot be read', '?', 'r', 0],
    ['a kernel that was not asked', 'r', '?', 0],
  ])('takes %s for what they are', (_, access, kernel, count) => {
    expect(disagreements({ ...INSPECTION, nodes: [], others: [{ ...TUN, access, kernel }] })).toHaveLength(count);
    expect(disagreements({ ...INSPECTION, nodes: [node(FUSE, access, kernel)], others: [] })).toHaveLength(count);
  });
});
