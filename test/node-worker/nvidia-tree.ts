import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** As the driver writes /proc/driver/nvidia/gpus/<bus id>/information. A GPU that nobody has used yet shows no UUID. */
export const gpuInformation = (
  busId: string,
  minor: number,
  uuid = 'GPU-????????-????-????-????-????????????',
): string =>
  `Model: \t\t NVIDIA H100 80GB HBM3
IRQ:   \t\t ${40 + minor}
GPU UUID: \t ${uuid}
Video BIOS: \t 96.00.74.00.01
Bus Type: \t PCIe
DMA Size: \t 52 bits
DMA Mask: \t 0xfffffffffffff
Bus Location: \t ${busId}
Device Minor: \t ${minor}
GPU Firmware: \t 550.54.15
GPU Excluded:\t No
`;

export const UVM_MAJOR = 511;

const GPU_MAJOR = 195;

/** Of a driver whose majors are these. */
export const procDevices = (uvm = UVM_MAJOR, driver = 'nvidia', major = GPU_MAJOR): string => `Character devices:
  1 mem
 10 misc
${major} ${driver}
${major} nvidiactl
${uvm} nvidia-uvm
510 nvidia-caps

Block devices:
  7 loop
`;

export const UUIDS = ['GPU-5f3b1c1e-0000-4c0e-9d5b-0123456789a0', 'GPU-5f3b1c1e-0001-4c0e-9d5b-0123456789a1'] as const;
export const BUS_IDS = ['0000:3b:00.0', '0000:af:00.0'] as const;

/** Makes what the driver of two GPUs shows below /proc; the first has minor 1, unless other numbers are given. */
export function addDriver(root: string, minors: readonly [number, number] = [1, 0], major = GPU_MAJOR): void {
  BUS_IDS.forEach((busId, index) => {
    const gpu = join(root, 'proc/driver/nvidia/gpus', busId);
    mkdirSync(gpu, { recursive: true });
    writeFileSync(join(gpu, 'information'), gpuInformation(busId, minors[index] ?? 0, UUIDS[index]));
  });
  writeFileSync(join(root, 'proc/devices'), procDevices(UVM_MAJOR, 'nvidia', major));
}

/** Device numbers by path, as the driver's own nodes have them. */
export const DRIVER_NODES = {
  '/dev/nvidia0': [195, 0],
  '/dev/nvidia1': [195, 1],
  '/dev/nvidiactl': [195, 255],
  '/dev/nvidia-uvm': [UVM_MAJOR, 0],
  '/dev/nvidia-uvm-tools': [UVM_MAJOR, 1],
  '/dev/nvidia-modeset': [195, 254],
  '/dev/nvidia-caps/nvidia-cap12': [510, 12],
} as const satisfies Readonly<Record<string, readonly [number, number]>>;

/**
 * Makes the nodes of a driver below `root`, which needs root. On a machine without the driver an open ends in ENXIO where the
 * device policy allows it, and in EPERM where it does not.
 */
export function addDriverNodes(root: string, nodes: Readonly<Record<string, readonly number[]>> = DRIVER_NODES): void {
  for (const [path, numbers] of Object.entries(nodes)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    execFileSync('mknod', ['-m', '666', join(root, path), 'c', ...numbers.map(String)]);
  }
}

/** Throws where a driver of the machine has a major of `nodes`: an open would reach it. `text` is that of /proc/devices. */
export function requireNoDriver(
  nodes: Readonly<Record<string, readonly number[]>> = DRIVER_NODES,
  text = readFileSync('/proc/devices', 'utf8'),
): void {
  const majors = new Set(Object.values(nodes).map(([major]) => String(major)));
  const lines = text.replace(/Block devices:[^]*/, '').split('\n');
  const taken = lines.map((line) => line.trim()).find((line) => majors.has(line.split(' ')[0] ?? ''));
  if (taken !== undefined) throw new Error(`Cannot test without a driver: /proc/devices has "${taken}"`);
}
