import { describe, expect, test } from '@jest/globals';
import { allocationOf, memoryHost } from '../../test/node-worker/memory-host.ts';
import { UUIDS } from '../../test/node-worker/nvidia-tree.ts';
import type { Host, NeededFile } from './driver.ts';
import { driverFilesOf } from './nvidia-files.ts';

const LIB = '/usr/lib/x86_64-linux-gnu';
const slave = { namespace: 'default', name: 's', uid: 's' };
const NVRM = `NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024
GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)
`;
const OPEN = NVRM.replace('UNIX x86_64 Kernel Module ', 'UNIX Open Kernel Module for x86_64 ');

const filesOf = (host: Host, answer: Parameters<typeof allocationOf>[2] = {}): readonly NeededFile[] =>
  driverFilesOf({ slave, allocations: [allocationOf('nvidia.com/gpu', [UUIDS[0]], answer)] }, host);
const texts = (names: readonly string[], folder = LIB): Readonly<Record<string, string>> =>
  Object.fromEntries(names.map((name) => [`${folder}/${name}`, '']));

const mount = (name: string) => ({
  hostPath: `/opt/nv/${name}`,
  containerPath: `/usr/lib/${name}`,
  readOnly: true,
});

describe('driverFilesOf()', () => {
  test('gives the libraries and the tool of the driver that the kernel has', () => {
    const names = ['libcuda.so.550.54.15', 'libcuda.so.535.1', 'libnvidia-ml.so.550.54.15', 'libnvidia-ml.so.1'];
    for (const version of [NVRM, OPEN]) {
      const host = memoryHost({
        ...texts([...names, 'libnvidia-glcore.so.550.54.15', 'libc.so.6']),
        '/usr/bin/nvidia-smi': '',
        '/proc/driver/nvidia/version': version,
      });
      expect(filesOf(host)).toEqual([
        { hostPath: `${LIB}/libcuda.so.550.54.15`, path: '/usr/lib/libcuda.so.550.54.15' },
        { hostPath: `${LIB}/libnvidia-ml.so.550.54.15`, path: '/usr/lib/libnvidia-ml.so.550.54.15' },
        { hostPath: '/usr/bin/nvidia-smi', path: '/usr/bin/nvidia-smi' },
      ]);
    }
  });

  test('finds the driver of the GPU operator, and that of GKE', () => {
    const roots = ['', '/run/nvidia/driver'];
    const operator = memoryHost(texts(['libcuda.so.550.54.15'], '/run/nvidia/driver/usr/lib64'), {}, roots);
    expect(filesOf(operator)).toMatchObject([{ hostPath: '/run/nvidia/driver/usr/lib64/libcuda.so.550.54.15' }]);
    const gke = memoryHost(texts(['libcuda.so.550.54.15'], '/home/kubernetes/bin/nvidia/lib64'));
    expect(filesOf(gke)).toMatchObject([{ path: '/usr/lib/libcuda.so.550.54.15' }]);
  });

  test('finds a driver that has a folder of its own, with its own tool', () => {
    const lib = texts(['libcuda.so.550.54.15'], '/usr/local/nvidia/lib64');
    const tools = { '/usr/bin/nvidia-smi': '#!/bin/sh', '/usr/local/nvidia/bin/nvidia-smi': '' };
    expect(filesOf(memoryHost({ ...lib, ...tools }))).toEqual([
      { hostPath: '/usr/local/nvidia/lib64/libcuda.so.550.54.15', path: '/usr/lib/libcuda.so.550.54.15' },
      { hostPath: '/usr/local/nvidia/bin/nvidia-smi', path: '/usr/bin/nvidia-smi' },
    ]);
  });

  test('gives nothing without a driver, and none of another version than that in the kernel', () => {
    expect(filesOf(memoryHost())).toEqual([]);
    const old = { ...texts(['libcuda.so.535.1']), '/proc/driver/nvidia/version': NVRM };
    expect(filesOf(memoryHost(old))).toEqual([]);
  });

  test('gives libraries that a CDI spec has in a folder of their own where loaders look, and does without spare files', () => {
    const folder = '/usr/local/nvidia/lib64';
    const names = [`${folder}/libcuda.so.550.54.15`, `${folder}/vdpau/libvdpau_nvidia.so.1`, '/usr/bin/nvidia-smi'];
    const unseen = '/lib/firmware/nvidia/gsp.bin';
    const mounts = [...names, unseen].map((path) => ({ hostPath: path, containerPath: path, readOnly: true }));
    const host = memoryHost(Object.fromEntries(names.map((name) => [name, ''])));
    expect(filesOf(host, { mounts })).toEqual([
      { hostPath: names[0], path: '/usr/lib/libcuda.so.550.54.15' },
      { hostPath: names[1], path: names[1] },
      { hostPath: names[2], path: names[2] },
    ]);
    const library = { hostPath: '/opt/libnvidia-ml.so.1', containerPath: '/opt/libnvidia-ml.so.1', readOnly: true };
    expect(() => filesOf(host, { mounts: [...mounts, library] })).toThrow('the node has no "/opt/libnvidia-ml.so.1"');
  });

  test('prefers what the plugin mounts where libcuda is among it, and never mounts names of devices', () => {
    const host = memoryHost({ ...texts(['libcuda.so.550.54.15']), '/opt/nv/libcuda.so.1': '', '/opt/nv/x': '' });
    const device = {
      hostPath: '/dev/null',
      containerPath: `/var/run/nvidia-container-devices/${UUIDS[0]}`,
      readOnly: true,
    };
    expect(filesOf(host, { mounts: [device, mount('libcuda.so.1')] })).toEqual([
      { hostPath: '/opt/nv/libcuda.so.1', path: '/usr/lib/libcuda.so.1' },
    ]);
    expect(filesOf(host, { mounts: [mount('x')] }).map(({ path }) => path)).toEqual([
      '/usr/lib/x',
      '/usr/lib/libcuda.so.550.54.15',
    ]);
  });
});
