import { expect, test } from '@jest/globals';
import { problemsIn, type Snapshot } from './agreement.ts';

const TARGET = {
  name: 'a',
  uid: 'ua',
  node: 'n',
  containerId: 'c1',
  could: true,
  beside: ['+ c 10:229 rwm', '+ 20666 0:0 10:229 /dev/fuse'],
};
const SLAVE = { name: 'a-slave', uid: 'us', mount: 'm', targetUids: ['ua'], ending: false };
const RECORD = { node: 'n', mount: 'm', phase: 'attached', containerId: 'c1', slaveUids: ['us'], paths: ['/dev/fuse'] };
const OBJECT = { mount: 'm', phase: 'Mounted' };
const ALL: Snapshot = {
  targets: [TARGET],
  slaves: [SLAVE],
  records: [RECORD],
  objects: [OBJECT],
  workflows: ['mount/local/default/m'],
};
const BARE = { ...TARGET, could: false, beside: [] };

test('problemsIn() finds none where each part belongs to the one mount, or where there is nothing', () => {
  expect(problemsIn(ALL)).toEqual([]);
  const ended = { mount: 'm', phase: 'Released' };
  expect(problemsIn({ targets: [BARE], slaves: [], records: [], objects: [ended], workflows: [] })).toEqual([]);
  expect(problemsIn({ ...ALL, targets: [{ ...TARGET, could: undefined }] })).toEqual([]);
});

test.each<[string, Partial<Snapshot>, RegExp]>([
  ['a slave alone', { records: [], workflows: [], targets: [BARE] }, /slave a-slave is there without a mount/],
  ['a record alone', { slaves: [], workflows: [], targets: [BARE] }, /n has a record of m, which has ended/],
  ['a mount without a slave', { slaves: [] }, /open without a slave/],
  ['a mount without a record', { records: [] }, /open without a record/],
  ['two slaves', { slaves: [SLAVE, { ...SLAVE, name: 'second' }] }, /more than one slave/],
  ['two records', { records: [RECORD, { ...RECORD, node: 'other' }] }, /more than one/],
  ['a mount that nobody shows', { objects: [] }, /m is open and not shown/],
  ['a mount that is shown as something else', { objects: [{ mount: 'm', phase: 'Pending' }] }, /shown as Pending/],
  [
    'an end that nobody shows',
    { slaves: [], records: [], workflows: [], targets: [BARE] },
    /m has ended, and is shown as Mounted/,
  ],
  ['a mount whose target is gone', { targets: [] }, /without its target/],
  ['a slave that is ending', { slaves: [{ ...SLAVE, ending: true }] }, /is ending/],
  ['a record of another slave', { records: [{ ...RECORD, slaveUids: ['other'] }] }, /does not name its slave/],
  ['a record that was not finished', { records: [{ ...RECORD, phase: 'attaching' }] }, /says attaching/],
  ['a record of a container that is gone', { records: [{ ...RECORD, containerId: 'c0' }] }, /names another container/],
  [
    'an open unmount',
    { workflows: [...ALL.workflows, 'unmount/local/default/x'] },
    /unmount\/local\/default\/x is open/,
  ],
  [
    'a rule without a mount',
    { slaves: [], records: [], workflows: [], targets: [{ ...BARE, beside: ['+ c 10:229 rwm'] }] },
    /a has "\+ c 10:229 rwm" without/,
  ],
  [
    'a rule that is missing',
    { slaves: [], records: [], workflows: [], targets: [{ ...BARE, beside: ['- c 1:3 rwm'] }] },
    /a has "- c 1:3/,
  ],
  [
    'a node beside that of the mount',
    { targets: [{ ...TARGET, beside: [...TARGET.beside, '+ 20666 0:0 1:11 /dev/kmsg'] }] },
    /\/dev\/kmsg" without/,
  ],
  [
    'a file that is mounted without a mount',
    { slaves: [], records: [], workflows: [], targets: [{ ...BARE, beside: ['+ mount /usr/lib/libcuda.so ro ext4'] }] },
    /a has "\+ mount \/usr\/lib\/libcuda\.so ro ext4" without/,
  ],
  [
    'a file beside those of the mount',
    { targets: [{ ...TARGET, beside: [...TARGET.beside, '+ mount /usr/lib/libcuda.so ro ext4'] }] },
    /libcuda\.so ro ext4" without/,
  ],
  [
    'a file that is missing',
    { records: [{ ...RECORD, paths: [...RECORD.paths, '/usr/lib/libcuda.so'] }] },
    /a lacks \/usr\/lib\/libcuda\.so,/,
  ],
  ['a node that is missing', { targets: [{ ...TARGET, beside: ['+ c 10:229 rwm'] }] }, /a lacks \/dev\/fuse/],
  ['a device that cannot be opened', { targets: [{ ...TARGET, could: false }] }, /a can not open/],
  [
    'a device that can be opened without a mount',
    { slaves: [], records: [], workflows: [], targets: [{ ...BARE, could: true }] },
    /a can open/,
  ],
])('problemsIn() tells of %s', (_name, change, problem) => {
  expect(problemsIn({ ...ALL, ...change }).join('\n')).toMatch(problem);
});
