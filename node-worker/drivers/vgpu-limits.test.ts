import { describe, expect, test } from '@jest/globals';
import { assert, constantFrom, dictionary, oneof, property, string } from 'fast-check';
import { failureOf } from '../../contract/failures.ts';
import { allocationOf, memoryHost } from '../../test/node-worker/memory-host.ts';
import { BUS_IDS, gpuInformation, UUIDS } from '../../test/node-worker/nvidia-tree.ts';
import { VGPU, vgpuAnswer } from '../../test/node-worker/vgpu.ts';
import { RUNS } from '../../test/property-runs.ts';
import type { Allocation } from '../kubelet/checkpoint.ts';
import { vgpuLimitsOf, vgpuRegionOf } from './vgpu-limits.ts';

const [A, B] = UUIDS;
const host = memoryHost(
  Object.fromEntries(
    BUS_IDS.map((bus, index) => [
      `/proc/driver/nvidia/gpus/${bus}/information`,
      gpuInformation(bus, index, UUIDS[index]),
    ]),
  ),
);
const limitsOf = (answer: Partial<Allocation>) => vgpuLimitsOf(allocationOf(VGPU, ['x'], answer), host);

const regionOf = (change: Partial<Allocation> = {}) =>
  vgpuRegionOf({ ...allocationOf(VGPU, ['x'], vgpuAnswer('s', [A])), ...change });

const countingAt = (path: string) => ({ envs: { CUDA_DEVICE_MEMORY_SHARED_CACHE: path } });

describe('vgpuLimitsOf()', () => {
  test('tells the share of each GPU', () => {
    const envs = { ...vgpuAnswer('s', [B, A]).envs, CUDA_DEVICE_MEMORY_LIMIT_1: '7m' };
    expect(limitsOf({ envs })).toEqual([
      { gpu: B, busId: BUS_IDS[1], memoryMiB: 2_000, cores: 50 },
      { gpu: A, busId: BUS_IDS[0], memoryMiB: 7, cores: 50 },
    ]);
  });

  test.each([
    ['no limit', {}, [0, 100]],
    ['0 percent, which is all', { CUDA_DEVICE_SM_LIMIT: '0' }, [0, 100]],
    ['the memory of all GPUs together', { CUDA_DEVICE_MEMORY_LIMIT: '5m' }, [5, 100]],
  ])('reads %s', (_name, envs, expected) => {
    const limits = limitsOf({ envs: { NVIDIA_VISIBLE_DEVICES: A, ...envs } });
    expect(limits.map(({ memoryMiB, cores }) => [memoryMiB, cores])).toEqual([expected]);
  });

  test.each([
    ['CUDA_DEVICE_MEMORY_LIMIT_0', '2g'],
    ['CUDA_DEVICE_MEMORY_LIMIT_0', ''],
    ['CUDA_DEVICE_MEMORY_LIMIT_0', '-1m'],
    ['CUDA_DEVICE_SM_LIMIT', '5%'],
  ])('refuses %s=%s', (name, value) => {
    expect(() => limitsOf({ envs: { ...vgpuAnswer('s', [A]).envs, [name]: value } })).toThrow(
      `"${name}" of its device plugin must be a number such as`,
    );
  });

  test('reads what a device plugin may answer, or says in one line that it cannot', () => {
    const names = [
      'NVIDIA_VISIBLE_DEVICES',
      'CUDA_DEVICE_MEMORY_LIMIT',
      'CUDA_DEVICE_MEMORY_LIMIT_0',
      'CUDA_DEVICE_SM_LIMIT',
    ];
    const value = oneof(constantFrom(A, `${A},${B}`, '2000m', '50', '-1m', '999999999m', '__proto__'), string());
    assert(
      property(dictionary(constantFrom(...names), value), (envs) => {
        try {
          for (const { gpu, memoryMiB, cores } of limitsOf({ envs })) {
            expect(envs['NVIDIA_VISIBLE_DEVICES']?.split(',')).toContain(gpu);
            expect([memoryMiB >= 0 && memoryMiB < 1e9, cores > 0 && cores <= 100]).toEqual([true, true]);
          }
        } catch (err) {
          const { type, message = '' } = failureOf(err) ?? {};
          expect([type, /^Cannot [^\n]{10,900}$/.test(message)]).toEqual(['NotAllocated', true]);
        }
      }),
      { numRuns: RUNS },
    );
  });
});

describe('vgpuRegionOf()', () => {
  test('is a file in the folder that the plugin has made for the container', () => {
    expect(regionOf()).toEqual({ folder: '/usr/local/vgpu/vgpu/containers/s_slave', name: 'region.cache' });
  });

  test.each([
    ['there is no variable', { envs: {} }],
    ['the file is elsewhere', countingAt('/etc/x.cache')],
    ['its name leads elsewhere', countingAt('/tmp/vgpu/../x')],
    ['its name is that of the folder above', countingAt('/tmp/vgpu/..')],
    ['the folder is another container’s', { container: 'other' }],
    ['the folder is not mounted', { mounts: [] }],
  ])('is none where %s', (_name, change) => {
    expect(regionOf(change)).toBeUndefined();
  });
});
