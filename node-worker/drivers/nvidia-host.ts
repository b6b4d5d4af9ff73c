import { fail, failureOf } from '../../contract/failures.ts';
import { deviceKey } from '../cgroup/rule.ts';
import type { DeviceNode } from '../kernel/engine.ts';
import type { Host } from './driver.ts';

/** A GPU as the driver tells of it. */
interface Gpu {
  /** Its PCI address, such as `0000:3b:00.0`. */
  readonly busId: string;
  /** Absent until somebody has used the GPU for the first time. */
  readonly uuid: string | undefined;
  /** Of its node. */
  readonly minor: number;
}

/** The GPUs of the host (NVIDIA driver README, "The /proc interface"); none without a driver. @throws Invalid */
export function gpusOf(host: Host): readonly Gpu[] {
  for (const root of host.driverRoots) {
    const directory = `${root}/proc/driver/nvidia/gpus`;
    const busIds = host.list(directory);
    if (busIds.length > 0)
      return busIds.flatMap((busId) => gpuOf(busId, host.read(`${directory}/${busId}/information`)));
  }
  return [];
}

/** A GPU that the driver does not use, such as one that a virtual machine has, has no minor. */
function gpuOf(busId: string, information = ''): readonly Gpu[] {
  const minor = /^Device Minor:[ \t]*(\d{1,3})$/m.exec(information)?.[1];
  if (minor === undefined) return [];
  return [{ busId, uuid: /^GPU UUID:[ \t]*(GPU-[0-9a-f-]+)$/m.exec(information)?.[1], minor: Number(minor) }];
}

/** The GPU that a device id or an environment names, by its UUID or bus id; with 8 digits before the first colon, too, as NVML tells them. */
export function gpuNamed(gpus: readonly Gpu[], name: string): Gpu | undefined {
  const busId = name.toLowerCase().replace(/^[0-9a-f]{4}(?=[0-9a-f]{4}:)/, '');
  return gpus.find((gpu) => gpu.uuid === name || gpu.busId.toLowerCase() === busId);
}

export const gpuPath = ({ minor }: Pick<Gpu, 'minor'>): string => `/dev/nvidia${minor}`;

/** The node of a GPU. @throws NotFound with the command that makes it, NotAllocated when the host has another device there */
export function gpuNode(gpu: Gpu, host: Host): DeviceNode {
  const node = nodeOf({ path: gpuPath(gpu), drivers: DRIVER, minor: gpu.minor }, host);
  return node ?? missing(gpuPath(gpu), `nvidia-modprobe -c=${gpu.minor}`);
}

/** What CUDA needs besides a GPU, whichever it is. @throws like `gpuNode` */
export function controlNodes(host: Host): readonly DeviceNode[] {
  return CONTROL.flatMap((control) => {
    const node = nodeOf(control, host);
    if (node !== undefined) return [node];
    return control.madeBy === undefined ? [] : missing(control.path, control.madeBy);
  });
}

/** In /proc/devices; before version 550 the first is called the second. */
const DRIVER = ['nvidia', 'nvidia-frontend'];

interface Known {
  readonly path: string;
  /** Names in /proc/devices that its major may have: only that of the GPUs is the same everywhere. */
  readonly drivers: readonly string[];
  readonly minor: number;
}

const CONTROL: readonly (Known & { readonly madeBy?: string })[] = [
  { path: '/dev/nvidiactl', drivers: DRIVER, minor: 255, madeBy: 'nvidia-modprobe' },
  { path: '/dev/nvidia-uvm', drivers: ['nvidia-uvm'], minor: 0, madeBy: 'nvidia-modprobe -u -c=0' },
  { path: '/dev/nvidia-uvm-tools', drivers: ['nvidia-uvm'], minor: 1 },
  { path: '/dev/nvidia-modeset', drivers: ['nvidia-modeset', ...DRIVER], minor: 254 },
];

/** Undefined where the host has no such file. */
function nodeOf({ path, drivers, minor }: Known, host: Host): DeviceNode | undefined {
  const majors = majorsOf(host);
  const major = drivers.map((name) => majors.get(name)).find((known) => known !== undefined);
  const found = fileOf(path, host);
  if (found === undefined || major === undefined) return undefined;
  if (found.type === 'c' && found.major === major && found.minor === minor) return { ...found, path, access: 'rw' };
  throw fail(
    'NotAllocated',
    `Cannot attach a GPU: ${path} of the host must be c ${major}:${minor}, is ${deviceKey(found)}`,
  );
}

function fileOf(path: string, host: Host): ReturnType<Host['device']> | undefined {
  for (const root of host.driverRoots) {
    try {
      const [place] = host.paths(`${root}${path}`);
      if (place !== undefined) return host.device(place.hostPath);
    } catch (err) {
      if (failureOf(err)?.type !== 'NotFound') throw err;
    }
  }
  return undefined;
}

/** Majors of character devices by the name of their driver; the best root comes last. */
function majorsOf(host: Host): ReadonlyMap<string, number> {
  const texts = host.driverRoots.toReversed().map((root) => host.read(`${root}/proc/devices`) ?? '');
  const characters = texts.map((text) => text.split('Block devices:')[0]).join('\n');
  const lines = [...characters.matchAll(/^ *(\d+) (\S+)$/gm)];
  return new Map(lines.map(([, major = '', name = '']) => [name, Number(major)]));
}

function missing(path: string, command: string): never {
  throw fail('NotFound', `Cannot attach a GPU: the node has no ${path}. Run "${command}" on it`);
}
