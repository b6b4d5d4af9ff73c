import type { Allocation } from '../../node-worker/kubelet/checkpoint.ts';

export const VGPU = 'volcano.sh/vgpu-number';

/** What Volcano's scheduler writes on a pod with one container. */
export const vgpuWord = (uuids: readonly string[]): string => uuids.map((uuid) => `${uuid},NVIDIA,2000,50:`).join('');

/** As Volcano's device plugin answers for a container of the pod with this UID (volcano-vgpu-device-plugin 4fb76ba, pkg/plugin/server.go). */
export function vgpuAnswer(podUid: string, uuids: readonly string[]): Pick<Allocation, 'envs' | 'mounts'> {
  const limits = uuids.map((_uuid, index) => [`CUDA_DEVICE_MEMORY_LIMIT_${index}`, '2000m']);
  return {
    envs: {
      NVIDIA_VISIBLE_DEVICES: uuids.join(','),
      ...Object.fromEntries(limits),
      CUDA_DEVICE_SM_LIMIT: '50',
      CUDA_DEVICE_MEMORY_SHARED_CACHE: '/tmp/vgpu/region.cache',
    },
    mounts: [
      mount('/usr/local/vgpu/libvgpu.so', '/usr/local/vgpu/libvgpu.so', true),
      mount('/tmp/vgpu', `/usr/local/vgpu/vgpu/containers/${podUid}_slave`, false),
      mount('/tmp/vgpulock', '/tmp/vgpulock', false),
      mount('/etc/ld.so.preload', '/usr/local/vgpu/ld.so.preload', true),
    ],
  };
}

const mount = (containerPath: string, hostPath: string, readOnly: boolean): Allocation['mounts'][number] => ({
  containerPath,
  hostPath,
  readOnly,
});
