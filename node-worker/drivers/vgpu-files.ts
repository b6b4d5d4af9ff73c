import type { Allocation } from '../kubelet/checkpoint.ts';
import type { Finding, Host, NeededFile, NeededRegion, NeededText } from './driver.ts';
import { driverFilesOf, LIBCUDA } from './nvidia-files.ts';

/** HAMi-core, which programs load first and which keeps them within their limits. */
export const LIBVGPU = '/usr/local/vgpu/libvgpu.so';
/** Where it counts when the environment of the program that begins does not say another place. */
export const REGION = '/tmp/cudevshr.cache';

/**
 * What the device plugin's answer mounts, what sets the limits, and the driver's files for a container that has no driver. The limits are those of a
 * region of ours. HAMi-core before 1.1 has another one; it gets a folder to make it in, and its limits in a file that it reads first.
 */
export function vgpuFilesOf(finding: Finding, host: Host): readonly (NeededFile | NeededRegion | NeededText)[] {
  const mounted = new Set(
    finding.allocations.flatMap(({ mounts }) => mounts.map(({ containerPath }) => containerPath)),
  );
  const files = driverFilesOf(finding, host).map((file) => {
    if (!mounted.has(file.path)) return { ...file, unless: LIBCUDA };
    return isOurFolder(file, finding) ? ({ ...file, writable: true } as const) : file;
  });
  const isKnown = hasKnownRegion(files, host);
  const text = variablesIn(finding.allocations, isKnown ? POLICY : LIMIT);
  return [
    ...(isKnown
      ? [...files.filter(({ path }) => path !== '/tmp/vgpu'), { path: REGION, region: true } as const]
      : files),
    ...(text === '' ? [] : [{ path: '/overrideEnv', text }]),
  ];
}

/** It says so itself, where its version is another than that of the region: since 1.1, the first one whose regions have a version. */
const COMPARES_VERSIONS = 'is different from the file';

function hasKnownRegion(files: readonly NeededFile[], host: Host): boolean {
  const library = files.find(({ path }) => path === LIBVGPU);
  return library !== undefined && (host.read(library.hostPath) ?? '').includes(COMPARES_VERSIONS);
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

const POLICY = /^(?:CUDA_OVERSUBSCRIBE|GPU_CORE_UTILIZATION_POLICY)$/;
const LIMIT =
  /^(?:CUDA_DEVICE_(?:MEMORY_LIMIT(?:_\d{1,2})?|SM_LIMIT|MEMORY_SHARED_CACHE)|CUDA_OVERSUBSCRIBE|GPU_CORE_UTILIZATION_POLICY)$/;

/**
 * A line for each variable. HAMi-core reads them when a program begins, up to the first line that is none
 * (src/multiprocess/multiprocess_memory_limit.h, ENV_OVERRIDE_FILE): since 2025 only once it has made its region.
 */
function variablesIn(allocations: readonly Allocation[], which: RegExp): string {
  return allocations
    .flatMap(({ envs }) => Object.entries(envs))
    .filter(([name, value]) => which.test(name) && !value.includes('\n'))
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');
}
