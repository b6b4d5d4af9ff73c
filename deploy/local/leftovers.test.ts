import { describe, expect, test } from '@jest/globals';
import { belongsTo, type ProcessTraces } from './leftovers.ts';

const ROOT = '/checkout/.local';
const NODE_NAMESPACES = ['mnt:[4026532001]'];
const OTHER: ProcessTraces = {
  environ: 'PATH=/bin\0HOME=/root\0',
  mountinfo: '27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n',
  mountNamespace: 'mnt:[4026531841]',
};
const overlay = (root: string): string =>
  `400 399 0:50 / / rw - overlay overlay rw,lowerdir=/l,upperdir=${root}/node-1/containerd/s/12/fs,workdir=/w\n`;

describe('belongsTo()', () => {
  test.each<[string, Partial<ProcessTraces>]>([
    ['a server', { environ: `PATH=/bin\0DEVICE_MOUNTER_LOCAL_CLUSTER=${ROOT}\0` }],
    ['a process that entered a node', { mountNamespace: 'mnt:[4026532001]' }],
    ['a process of a container', { mountNamespace: 'mnt:[4026532077]', mountinfo: overlay(ROOT) }],
  ])('is true for %s', (_name, traces) => {
    expect(belongsTo(ROOT, NODE_NAMESPACES, { ...OTHER, ...traces })).toBe(true);
  });

  test.each<[string, Partial<ProcessTraces>]>([
    ['any other process', {}],
    ['a server of another cluster', { environ: `DEVICE_MOUNTER_LOCAL_CLUSTER=${ROOT}2\0` }],
    ['one that only names the folder', { environ: `DEVICE_MOUNTER_STATE=${ROOT}\0` }],
    ['a container of another cluster', { mountinfo: overlay(`${ROOT}2`) }],
  ])('is false for %s', (_name, traces) => {
    expect(belongsTo(ROOT, NODE_NAMESPACES, { ...OTHER, ...traces })).toBe(false);
  });
});
