import type { Allocation } from '../../node-worker/kubelet/checkpoint.ts';

export const VGPU = 'volcano.sh/vgpu-number';

/** What a container gets of a GPU. */
export interface VgpuShare {
  readonly uuid: string;
  /** MiB. */
  readonly memory: number;
  /** Percent. */
  readonly cores: number;
}

const sharesOn = (uuids: readonly string[]): readonly VgpuShare[] =>
  uuids.map((uuid) => ({ uuid, memory: 2000, cores: 50 }));

/** What Volcano's scheduler writes on a pod with one container. */
export const wordOfShares = (shares: readonly VgpuShare[]): string =>
  shares.map(({ uuid, memory, cores }) => `${uuid},NVIDIA,${memory},${cores}:`).join('');

/** The same for shares of 2000 MiB. */
export const vgpuWord = (uuids: readonly string[]): string => wordOfShares(sharesOn(uuids));

/** What it says, in any of the forms. */
export function sharesIn(word: string): readonly VgpuShare[] {
  const devices = [...word.matchAll(/(GPU-[^,:;]+),NVIDIA,(\d+),(\d+)/g)];
  return devices.map(([, uuid = '', memory, cores]) => ({ uuid, memory: Number(memory), cores: Number(cores) }));
}

/** For shares of 2000 MiB, see `answerOfShares`. */
export const vgpuAnswer = (podUid: string, uuids: readonly string[]): VgpuAnswer =>
  answerOfShares(podUid, sharesOn(uuids));

type VgpuAnswer = Pick<Allocation, 'envs' | 'mounts'>;

/** The container of slave pods. */
export const SLAVE = 'slave';

/** Where the plugin has its files on the node, and where the folder for a container is. */
export const HOOK_PATH = '/usr/local/vgpu';
export const folderOf = (podUid: string, container = SLAVE): string =>
  `${HOOK_PATH}/vgpu/containers/${podUid}_${container}`;

/** As Volcano's device plugin answers for a container of the pod with this UID (volcano-vgpu-device-plugin 4fb76ba, pkg/plugin/server.go). */
export function answerOfShares(podUid: string, shares: readonly VgpuShare[], container = SLAVE): VgpuAnswer {
  const limits = shares.map(({ memory }, index) => [`CUDA_DEVICE_MEMORY_LIMIT_${index}`, `${memory}m`]);
  return {
    envs: {
      NVIDIA_VISIBLE_DEVICES: shares.map(({ uuid }) => uuid).join(','),
      ...Object.fromEntries(limits),
      CUDA_DEVICE_SM_LIMIT: String(shares[0]?.cores ?? 0),
      CUDA_DEVICE_MEMORY_SHARED_CACHE: '/tmp/vgpu/region.cache',
    },
    mounts: [
      mount('/usr/local/vgpu/libvgpu.so', `${HOOK_PATH}/libvgpu.so`, true),
      mount('/tmp/vgpu', folderOf(podUid, container), false),
      mount('/tmp/vgpulock', '/tmp/vgpulock', false),
      mount('/etc/ld.so.preload', `${HOOK_PATH}/ld.so.preload`, true),
    ],
  };
}

const mount = (containerPath: string, hostPath: string, readOnly: boolean): Allocation['mounts'][number] => ({
  containerPath,
  hostPath,
  readOnly,
});
