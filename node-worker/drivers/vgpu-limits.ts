import { fail } from '../../contract/failures.ts';
import type { GpuLimit } from '../kernel/engine.ts';
import type { Allocation } from '../kubelet/checkpoint.ts';
import type { Host, OwnRegion } from './driver.ts';
import { namesIn } from './nvidia-gpu.ts';
import { gpuNamed, gpusOf } from './nvidia-host.ts';

/**
 * What the device plugin has given of each GPU, in its order.
 * @throws NotAllocated where it says that in a way that nobody can read
 */
export function vgpuLimitsOf(allocation: Allocation, host: Host): readonly GpuLimit[] {
  const { envs } = allocation;
  const gpus = Object.values(namesIn(allocation)).find((names) => names.size > 0) ?? new Set();
  const known = gpusOf(host);
  const cores = numberIn(allocation, 'CUDA_DEVICE_SM_LIMIT', /^(\d{1,3})$/) ?? 0;
  return [...gpus].map((gpu, index) => {
    const own = `CUDA_DEVICE_MEMORY_LIMIT_${index}`;
    const name = Object.hasOwn(envs, own) ? own : 'CUDA_DEVICE_MEMORY_LIMIT';
    return {
      gpu,
      busId: gpuNamed(known, gpu)?.busId ?? '',
      memoryMiB: numberIn(allocation, name, /^(\d{1,9})m$/) ?? 0,
      cores: cores === 0 ? 100 : Math.min(100, cores),
    };
  });
}

function numberIn({ envs, resource }: Allocation, name: string, form: RegExp): number | undefined {
  if (!Object.hasOwn(envs, name)) return undefined;
  const value = envs[name] ?? '';
  const [, digits] = form.exec(value) ?? [];
  if (digits !== undefined) return Number(digits);
  const example = name.endsWith('SM_LIMIT') ? '50' : '2000m';
  throw fail(
    'NotAllocated',
    `Cannot attach ${resource}: "${name}" of its device plugin must be a number such as ${example}, is ${JSON.stringify(value.slice(0, 100))}`,
  );
}

const IN_FOLDER = /^\/tmp\/vgpu\/([\w-][\w.-]{0,200})$/;

/** Where the programs of a container that was started with a vGPU are counted; undefined where none of the node's folders is for that. */
export function vgpuRegionOf({ podUid, container, envs, mounts }: Allocation): OwnRegion | undefined {
  const [, name] = IN_FOLDER.exec(envs['CUDA_DEVICE_MEMORY_SHARED_CACHE'] ?? '') ?? [];
  const folder = mounts.find(
    ({ containerPath, hostPath }) =>
      containerPath === '/tmp/vgpu' && hostPath.endsWith(`/vgpu/containers/${podUid}_${container}`),
  )?.hostPath;
  return name === undefined || folder === undefined ? undefined : { folder, name };
}
