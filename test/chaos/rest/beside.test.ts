import { expect, test } from '@jest/globals';
import { besideTwin } from './beside.ts';

const BARE = { rules: { '': ['c 1:3 rwm'] }, nodes: ['20666 0:0 1:3 /dev/null'], mounts: ['/dev rw tmpfs'] };

const ownedBy = (uid: number, gid = uid): typeof BARE => ({ ...BARE, nodes: [`20666 ${uid}:${gid} 1:3 /dev/null`] });

test('besideTwin() finds nothing between two that are alike', () => {
  expect(besideTwin(BARE, structuredClone(BARE))).toEqual([]);
});

test('besideTwin() tells what is there more and less, whatever it is', () => {
  const state = {
    rules: { '': ['c 1:3 rwm', 'c 10:229 rwm'] },
    nodes: ['20666 0:0 10:229 /dev/fuse'],
    mounts: [...BARE.mounts, '/dev/fuse rw devtmpfs'],
  };
  expect(besideTwin(state, BARE)).toEqual([
    '+ rule  c 10:229 rwm',
    '+ node 20666 0:0 10:229 /dev/fuse',
    '+ mount /dev/fuse rw devtmpfs',
    '- node 20666 0:0 1:3 /dev/null',
  ]);
});

test('besideTwin() sees owners as the pods do, each with a user namespace of its own', () => {
  expect(besideTwin(ownedBy(3_544_842_240), ownedBy(1_433_337_856))).toEqual([]);
  expect(besideTwin(ownedBy(3_544_842_240, 3_544_842_245), ownedBy(1_433_337_856))).toHaveLength(2);
});
