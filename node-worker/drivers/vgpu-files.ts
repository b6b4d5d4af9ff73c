import type { Allocation } from '../kubelet/checkpoint.ts';
import type { Finding, Host, NeededFile, NeededText } from './driver.ts';
import { driverFilesOf, LIBCUDA } from './nvidia-files.ts';

/** HAMi-core, which programs load first and which keeps them within their limits. */
export const LIBVGPU = '/usr/local/vgpu/libvgpu.so';

/**
 * What the device plugin's answer mounts, the limits that its environment sets, and the driver's files for a container that has no
 * driver.
 */
export function vgpuFilesOf(finding: Finding, host: Host): readonly (NeededFile | NeededText)[] {
  const mounted = new Set(
    finding.allocations.flatMap(({ mounts }) => mounts.map(({ containerPath }) => containerPath)),
  );
  const files = driverFilesOf(finding, host).map((file) => {
    if (!mounted.has(file.path)) return { ...file, unless: LIBCUDA };
    return isOurFolder(file, finding) ? ({ ...file, writable: true } as const) : file;
  });
  const text = limitsIn(finding.allocations);
  return text === '' ? files : [...files, { path: '/overrideEnv', text }];
}

/**
 * The folders in which HAMi-core counts and locks, if the answer says that they are writable: the one that the plugin has made for this
 * slave, and that of the node's lock. No link may lead to them: on the node, too, anybody may write in /tmp.
 */
function isOurFolder({ hostPath, path }: NeededFile, { slave, allocations }: Finding): boolean {
  return allocations.some(({ container, mounts }) =>
    mounts.some((mount) => {
      if (mount.readOnly || mount.containerPath !== path || mount.hostPath !== hostPath) return false;
      if (path === '/tmp/vgpulock') return hostPath === path;
      return path === '/tmp/vgpu' && hostPath.endsWith(`/vgpu/containers/${slave.uid}_${container}`);
    }),
  );
}

const LIMIT =
  /^(?:CUDA_DEVICE_(?:MEMORY_LIMIT(?:_\d{1,2})?|SM_LIMIT|MEMORY_SHARED_CACHE)|CUDA_OVERSUBSCRIBE|GPU_CORE_UTILIZATION_POLICY)$/;

/**
 * A line for each variable. HAMi-core reads them when a program begins (src/multiprocess/multiprocess_memory_limit.h,
 * ENV_OVERRIDE_FILE), up to the first line that is none.
 */
function limitsIn(allocations: readonly Allocation[]): string {
  return allocations
    .flatMap(({ envs }) => Object.entries(envs))
    .filter(([name, value]) => LIMIT.test(name) && !value.includes('\n'))
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');
}
