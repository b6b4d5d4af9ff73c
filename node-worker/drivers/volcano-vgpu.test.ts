import { describe, expect, test } from '@jest/globals';
import { allocationOf, memoryHost } from '../../test/node-worker/memory-host.ts';
import { BUS_IDS, gpuInformation, procDevices, UUIDS } from '../../test/node-worker/nvidia-tree.ts';
import { VGPU, vgpuAnswer, vgpuWord } from '../../test/node-worker/vgpu.ts';
import type { Allocation } from '../kubelet/checkpoint.ts';
import type { Finding } from './driver.ts';
import { volcanoVgpu } from './volcano-vgpu.ts';

const [A, B] = UUIDS;
const LIB = '/usr/lib64/libcuda.so.550.54.15';
const CACHE = '/usr/local/vgpu/vgpu/containers/s_slave';
const NODES = {
  '/dev/nvidia0': 'c 195:0',
  '/dev/nvidia1': 'c 195:1',
  '/dev/nvidiactl': 'c 195:255',
  '/dev/nvidia-uvm': 'c 511:0',
};
const host = memoryHost(
  {
    '/proc/devices': procDevices(),
    ...Object.fromEntries(
      BUS_IDS.map((bus, index) => [
        `/proc/driver/nvidia/gpus/${bus}/information`,
        gpuInformation(bus, 1 - index, UUIDS[index]),
      ]),
    ),
    [LIB]: '',
    '/usr/local/vgpu/libvgpu.so': '',
    '/usr/local/vgpu/ld.so.preload': '',
    [`${CACHE}/x`]: '',
    '/tmp/vgpulock/lock': '',
    '/etc/passwd': '',
  },
  NODES,
);

const findingOf = (
  uuids: readonly string[],
  answer: Partial<Allocation> = vgpuAnswer('s', uuids),
  word = vgpuWord(uuids),
): Finding => ({
  slave: { namespace: 'default', name: 's1', uid: 's' },
  allocations: [
    allocationOf(
      VGPU,
      uuids.map((_uuid, index) => `GPU-other-${index}`),
      answer,
    ),
  ],
  words: { 'volcano.sh/vgpu-ids-new': word },
});
const devicesOf = (finding: Finding) => volcanoVgpu.devicesOf(finding, host);

describe('volcanoVgpu', () => {
  test('gives the GPUs that the scheduler has chosen, and not those that the kubelet has picked', () => {
    const devices = devicesOf(findingOf([B, A]));
    expect(devices.map(({ id, kubeletId, nodes }) => [id, kubeletId, nodes[0]?.path])).toEqual([
      [B, 'GPU-other-0', '/dev/nvidia0'],
      [A, 'GPU-other-1', '/dev/nvidia1'],
    ]);
    expect(devices[0]?.nodes.map(({ path }) => path)).toEqual(['/dev/nvidia0', '/dev/nvidiactl', '/dev/nvidia-uvm']);
  });

  test.each([
    [
      'names another GPU',
      findingOf([A], vgpuAnswer('s', [A]), vgpuWord([B])),
      /"volcano\.sh\/vgpu-ids-new" names GPU-\S+a1, NVIDIA_VISIBLE_DEVICES/,
    ],
    ['names a GPU more', findingOf([A], vgpuAnswer('s', [A, B]), vgpuWord([A, B])), /1 must be on GPUs of their own/],
    ['names a GPU twice', findingOf([A, B], vgpuAnswer('s', [A]), vgpuWord([A, A])), /2 must be on GPUs of their own/],
    ['names one GPU twice', findingOf([A], vgpuAnswer('s', [A]), vgpuWord([A, A])), /1 must be on GPUs of their own/],
    ['names none', findingOf([A], vgpuAnswer('s', [A]), ''), /1 must be on GPUs of their own, \S+ names none/],
    ['is all that names a GPU', findingOf([A], {}, vgpuWord([A])), /its device plugin must say which GPU it has given/],
    [
      'names another GPU than the CDI spec',
      findingOf([A], { cdiDevices: [`x.com/gpu=${B}`] }),
      /CDI names of its device plugin/,
    ],
  ])('refuses a slave whose annotation %s', (_name, finding, message) => {
    expect(() => devicesOf(finding)).toThrow(message);
  });

  test('knows the nodes before the slave runs where the driver knows the GPU that the plugin names', () => {
    const known = [A, 'GPU-new'].map((uuid) => volcanoVgpu.knowsNodes?.(findingOf([uuid]).allocations, host));
    expect(known).toEqual([true, false]);
  });

  test('mounts what the plugin mounts, the driver only where there is none, and the limits', () => {
    const files = volcanoVgpu.filesOf?.(findingOf([A]), host) ?? [];
    expect(files).toEqual([
      { hostPath: '/usr/local/vgpu/libvgpu.so', path: '/usr/local/vgpu/libvgpu.so' },
      { hostPath: CACHE, path: '/tmp/vgpu', writable: true },
      { hostPath: '/tmp/vgpulock', path: '/tmp/vgpulock', writable: true },
      { hostPath: '/usr/local/vgpu/ld.so.preload', path: '/etc/ld.so.preload' },
      {
        hostPath: LIB,
        path: '/usr/lib/libcuda.so.550.54.15',
        unless: expect.arrayContaining(['/usr/lib64/libcuda.so.1']),
      },
      {
        path: '/overrideEnv',
        text:
          'CUDA_DEVICE_MEMORY_LIMIT_0=2000m\nCUDA_DEVICE_MEMORY_SHARED_CACHE=/tmp/vgpu/region.cache\n' +
          'CUDA_DEVICE_SM_LIMIT=50\n',
      },
    ]);
  });

  test('gives HAMi-core since 1.1 a region to count in, and of a text only what it still reads of that', () => {
    const texts = { '/usr/local/vgpu/libvgpu.so': "is different from the file's version number %d.%d" };
    const newer = { ...host, read: (path: string) => texts[path as keyof typeof texts] ?? host.read(path) };
    const answer = vgpuAnswer('s', [A]);
    const envs = { ...answer.envs, GPU_CORE_UTILIZATION_POLICY: 'disable' };
    const files = volcanoVgpu.filesOf?.(findingOf([A], { ...answer, envs }), newer) ?? [];
    expect(files.filter(({ path }) => !path.includes('libcuda'))).toEqual([
      { hostPath: '/usr/local/vgpu/libvgpu.so', path: '/usr/local/vgpu/libvgpu.so' },
      { hostPath: '/tmp/vgpulock', path: '/tmp/vgpulock', writable: true },
      { hostPath: '/usr/local/vgpu/ld.so.preload', path: '/etc/ld.so.preload' },
      { path: '/tmp/cudevshr.cache', region: true },
      { path: '/overrideEnv', text: 'GPU_CORE_UTILIZATION_POLICY=disable\n' },
    ]);
  });

  test.each([
    ['the plugin says is read-only', '/tmp/vgpu', CACHE, true],
    ['is another slave’s', '/tmp/vgpu', '/usr/local/vgpu/vgpu/containers/t_slave', false],
    ['is any other of the node', '/tmp/vgpu', '/etc', false],
    ['is another lock', '/tmp/vgpulock', '/etc', false],
    ['goes elsewhere in the container', '/tmp/other', CACHE, false],
    ['a link leads to', '/tmp/vgpulock', '/tmp/vgpulock', false],
    ['a link leads to, whatever its name', '/tmp/vgpu', '/tmp/link', false],
  ])('makes no folder writable that %s', (_name, containerPath, hostPath, readOnly) => {
    const links: Readonly<Record<string, string>> = { '/tmp/vgpulock': '/etc', '/tmp/link': CACHE };
    const linked = { ...host, resolve: (path: string) => links[path] ?? path };
    const finding = findingOf([A], { envs: {}, mounts: [{ containerPath, hostPath, readOnly }] });
    const files = volcanoVgpu.filesOf?.(finding, linked) ?? [];
    expect(files.map(({ path }) => path)).toContain(containerPath);
    expect(files.filter((file) => 'writable' in file)).toEqual([]);
  });

  test('passes on no variable that is no limit, and none of two lines', () => {
    const envs = { ...vgpuAnswer('s', [A]).envs, LD_PRELOAD: '/x', CUDA_DEVICE_SM_LIMIT: '1\nLD_PRELOAD=/x' };
    const files = volcanoVgpu.filesOf?.(findingOf([A], { envs }), host) ?? [];
    expect(files.flatMap((file) => ('text' in file ? [file.text] : []))).toEqual([
      'CUDA_DEVICE_MEMORY_LIMIT_0=2000m\nCUDA_DEVICE_MEMORY_SHARED_CACHE=/tmp/vgpu/region.cache\n',
    ]);
  });
});
