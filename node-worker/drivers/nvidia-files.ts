import { basename, dirname, join } from 'node:path';
import type { Finding, Host, NeededFile } from './driver.ts';
import { namedFiles } from './sources.ts';

/** Of Debian and its kin, of Red Hat and its kin, of GKE, and of CUDA's own images (forward compatibility). */
const LIBRARY_FOLDERS = [
  '/usr/lib/x86_64-linux-gnu',
  '/usr/lib/aarch64-linux-gnu',
  '/usr/lib64',
  '/usr/lib',
  '/lib/x86_64-linux-gnu',
  '/lib/aarch64-linux-gnu',
  '/lib64',
  '/lib',
  '/usr/local/nvidia/lib64',
  '/usr/local/cuda/compat',
];

/** One of these a program finds that asks for the driver. */
export const LIBCUDA = LIBRARY_FOLDERS.map((folder) => `${folder}/libcuda.so.1`);

/** Where the driver of a node has its libraries; images of nodes that bring a driver along have it in a folder of its own. */
const DRIVER_FOLDERS = [...LIBRARY_FOLDERS.slice(0, 4), '/usr/local/nvidia/lib64', '/home/kubernetes/bin/nvidia/lib64'];

/** What CUDA and NVML load of the driver (libnvidia-container, src/nvc_info.c: its "compute" and "utility" libraries). */
const LIBRARIES = [
  'cuda',
  'cudadebugger',
  'nvidia-allocator',
  'nvidia-cfg',
  'nvidia-compiler',
  'nvidia-fatbinaryloader',
  'nvidia-gpucomp',
  'nvidia-ml',
  'nvidia-nvvm',
  'nvidia-opencl',
  'nvidia-pkcs11',
  'nvidia-pkcs11-openssl3',
  'nvidia-ptxjitcompiler',
];
/** Where NVIDIA's CDI specs name such files (nvidia-container-toolkit, internal/discover/graphics.go and pkg/nvcdi/driver-nvml.go). */
const SPARE =
  /^\/(?:usr\/)?lib\/firmware\/|^\/(?:etc|usr\/share)\/(?:vulkan|glvnd|egl|nvidia|X11)\/|\/xorg\/|^\/(?:var\/)?run\/nvidia-/;
const VERSIONED = /^lib([a-z0-9-]+)\.so\.(\d+(?:\.\d+)+)$/;
const TOOL = '/usr/bin/nvidia-smi';

/**
 * The driver's files: those that the plugin or a CDI spec mounts if libcuda is among them, and else those that the host itself has. By
 * default NVIDIA's plugin names none, since its runtime knows them.
 */
export function driverFilesOf(finding: Finding, host: Host): readonly NeededFile[] {
  const named = namedFiles(withoutNames(finding), host, isSpare);
  const libcuda = named.find(({ path }) => /\/libcuda\.so[^/]*$/.test(path));
  if (libcuda === undefined) return [...named, ...filesOfHost(host)];
  const folder = dirname(libcuda.path);
  return named.map((file) =>
    dirname(file.path) === folder ? { ...file, path: libraryAt(basename(file.path)) } : file,
  );
}

/** Firmware and what graphics need: CUDA does without them, and the node worker sees few folders of the host. */
const isSpare = (path: string): boolean => SPARE.test(path);

/** A folder in which loaders look. A CDI spec names one that its hook would have to tell them, and no hook is run. */
const libraryAt = (name: string): string => `/usr/lib/${name}`;

/** The volume-mounts strategy mounts /dev/null on paths that stand for devices. */
export const isNameOfDevice = ({ containerPath }: Finding['allocations'][number]['mounts'][number]): boolean =>
  containerPath.startsWith('/var/run/nvidia-container-devices/');

const withoutNames = (finding: Finding): Finding => ({
  ...finding,
  allocations: finding.allocations.map((allocation) => ({
    ...allocation,
    mounts: allocation.mounts.filter((mount) => !isNameOfDevice(mount)),
  })),
});

/** None where the host has no driver. An upgrade leaves libraries of other versions behind: libcuda tells which is meant. */
function filesOfHost(host: Host): readonly NeededFile[] {
  const folders = host.driverRoots.flatMap((root) =>
    DRIVER_FOLDERS.map((folder) => ({ root, folder: `${root}${folder}` })),
  );
  for (const { root, folder } of folders) {
    const names = host.list(folder);
    const version = versionOf(names, versionInKernel(host));
    if (version === undefined) continue;
    const libraries = names.filter((name) => {
      const [, library = '', its] = VERSIONED.exec(name) ?? [];
      return its === version && LIBRARIES.includes(library);
    });
    return [
      ...libraries.flatMap((name) => fileAt(host, `${folder}/${name}`, libraryAt(name))),
      // Beside a driver in a folder of its own: what /usr/bin has is then a script that looks there.
      ...[join(folder, '../bin/nvidia-smi'), `${root}${TOOL}`].flatMap((tool) => fileAt(host, tool, TOOL)).slice(0, 1),
    ];
  }
  return [];
}

function fileAt(host: Host, from: string, path: string): readonly NeededFile[] {
  const hostPath = host.resolve(from);
  return hostPath === undefined ? [] : [{ hostPath, path }];
}

/** A library of another version than the driver in the kernel is refused by that. */
function versionOf(names: readonly string[], inKernel: string | undefined): string | undefined {
  const versions = names.flatMap((name) => {
    const [, library, version = ''] = VERSIONED.exec(name) ?? [];
    return library === 'cuda' ? [version] : [];
  });
  return inKernel === undefined ? versions[0] : versions.find((version) => version === inKernel);
}

/** `NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue …` (NVIDIA driver README, "The /proc interface"). */
function versionInKernel(host: Host): string | undefined {
  for (const root of host.driverRoots) {
    const text = host.read(`${root}/proc/driver/nvidia/version`);
    const version = /^NVRM version:.*? {2}(\d+(?:\.\d+)+) /m.exec(text ?? '')?.[1];
    if (version !== undefined) return version;
  }
  return undefined;
}
