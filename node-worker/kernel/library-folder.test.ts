import { describe, expect, test } from '@jest/globals';
import { libraryPath, mergedPath } from './library-folder.ts';

const glibc = { libc: 'glibc', folder: '/usr/lib64' } as const;

test.each([
  ['/usr/lib/x86_64-linux-gnu/libcuda.so.1', '/usr/lib64/libcuda.so.1'],
  ['/lib/aarch64-linux-gnu/libcuda.so.1', '/usr/lib64/libcuda.so.1'],
  ['/usr/lib64/libcuda.so.1', '/usr/lib64/libcuda.so.1'],
  ['/usr/lib/libcuda.so.1', '/usr/lib64/libcuda.so.1'],
  ['/usr/lib/x86_64-linux-gnu/vdpau/libvdpau_nvidia.so.1', '/usr/lib64/vdpau/libvdpau_nvidia.so.1'],
  ['/usr/local/vgpu/libvgpu.so', '/usr/local/vgpu/libvgpu.so'],
  ['/usr/library/libx.so', '/usr/library/libx.so'],
])('libraryPath() moves %s to %s', (path, expected) => {
  expect(libraryPath(glibc, path)).toBe(expected);
  expect(libraryPath({ libc: 'none' }, path)).toBe(path);
});

describe('mergedPath()', () => {
  test.each([
    ['/lib/firmware/x', { '/lib': 'usr/lib' }, '/usr/lib/firmware/x'],
    ['/lib64/x', { '/lib64': '/usr/lib' }, '/usr/lib/x'],
    ['/var/run/x', { '/var/run': '../run' }, '/run/x'],
    ['/var/run/x', { '/var/run': '/run' }, '/run/x'],
    ['/lib/x', {}, '/lib/x'],
    ['/lib/x', { '/lib': '/tmp' }, '/lib/x'],
    ['/lib/x', { '/lib': '../usr/lib' }, '/usr/lib/x'],
    ['/lib/x', { '/lib': 'usr/../etc' }, '/lib/x'],
    ['/opt/x', { '/opt': 'usr/lib' }, '/opt/x'],
  ])('%s with %j is %s', (path, links, expected) => {
    expect(mergedPath(path, (link) => (links as Readonly<Record<string, string>>)[link])).toBe(expected);
  });
});
