import { describe, expect, test } from '@jest/globals';
import type { DeviceNode, Inspection } from '../kernel/engine.ts';
import type { MountRecord } from '../state/mount-record.ts';
import { inspectionText } from './text.ts';

const FUSE: DeviceNode = {
  path: '/dev/fuse',
  type: 'c',
  major: 10,
  minor: 229,
  access: 'rw',
  mode: 0o666,
  uid: 0,
  gid: 0,
};
const NULL: DeviceNode = { ...FUSE, path: '/dev/null', major: 1, minor: 3, access: 'rwm' };

const INSPECTION: Inspection = {
  containerId: 'c1',
  pid: 42,
  cgroup: { version: 2, path: '/sys/fs/cgroup/c1', initPath: '/sys/fs/cgroup/c1/init' },
  dev: 'own',
  policies: [
    {
      cgroup: '/sys/fs/cgroup/c1',
      programId: 7,
      name: 'devmnt',
      tag: 'abcd',
      instructions: 80,
      ours: [FUSE],
      readable: true,
    },
    { cgroup: '/sys/fs/cgroup/c1/init', list: ['c 1:3 rwm'] },
  ],
  nodes: [
    { ...NULL, ours: false },
    { ...FUSE, ours: true },
  ],
};

const RECORD = {
  mount: { namespace: 'default', name: 'm1' },
  phase: 'attached',
  containerId: 'c1',
  signed: { request: { user: { name: 'jane' } } },
  devices: [{ id: '/dev/fuse', resource: 'h/fuse', grant: { devices: [FUSE] } }],
} as unknown as MountRecord;

describe('inspectionText()', () => {
  test('says what the container may open, what of it is ours and why', () => {
    expect(inspectionText(INSPECTION, [RECORD, { ...RECORD, containerId: 'other' }])).toBe(`container c1
init      pid 42
cgroup    v2 /sys/fs/cgroup/c1, init in /sys/fs/cgroup/c1/init
/dev      own

device nodes
  /dev/null  c 1:3  rwm  not ours
  /dev/fuse  c 10:229  rw  attached by mount default/m1 of jane: h/fuse /dev/fuse

rules, outermost cgroup first
  /sys/fs/cgroup/c1
    program 7 "devmnt", tag abcd, 80 instructions
      ours: allow c 10:229 rw
  /sys/fs/cgroup/c1/init
    c 1:3 rwm
`);
  });

  test('shows what is attached and not there', () => {
    const text = inspectionText({ ...INSPECTION, nodes: [] }, [RECORD]);
    expect(text).toContain('  /dev/fuse  c 10:229  MISSING  attached by mount default/m1');
  });
});
