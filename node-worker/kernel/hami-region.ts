import type { GpuLimit } from './engine.ts';
import { Refusal } from './refusal.ts';

/**
 * The file that all programs of a container with vGPUs map, and in which HAMi-core keeps their limits and counts what they use: `shared_region_t` of
 * its src/multiprocess/multiprocess_memory_limit.h, on x64 and arm64. HAMi-core reads the limit on memory at each allocation, that
 * on cores when a program begins.
 */
interface Layout {
  /** Of the struct. The file has one byte more. */
  readonly bytes: number;
  readonly deviceNum: number;
  readonly uuids: number;
  readonly limit: number;
  readonly smLimit: number;
  readonly procNum: number;
}

const MAGIC = 19_920_718;
const MAX_GPUS = 16;
const UUID_BYTES = 96;
const SLOT_BYTES = 1_960;
/** Of 1.1 and 1.2. */
const USUAL: Layout = { bytes: 2_008_952, deviceNum: 56, uuids: 64, limit: 1_600, smLimit: 1_728, procNum: 2_008_896 };
/** For some weeks in 2026 a second semaphore stood before the number of devices, still called 1.1 (e200da2 to b69b1ea). */
const EARLY: Layout = {
  bytes: USUAL.bytes + 32,
  deviceNum: USUAL.deviceNum + 32,
  uuids: USUAL.uuids + 32,
  limit: USUAL.limit + 32,
  smLimit: USUAL.smLimit + 32,
  procNum: USUAL.procNum + 32,
};

export const REGION_BYTES = USUAL.bytes;

/** Bytes of the region, at some place. */
export type ReadRegion = (offset: number, length: number) => Buffer;

export interface Region {
  readonly layout: Layout;
  /** UUIDs in the order in which programs number the GPUs; none before the first has begun. */
  readonly gpus: readonly string[];
  /** Whether programs are counted; also one that was killed, until the next one begins. */
  readonly hasPrograms: () => boolean;
  readonly head: Buffer;
}

/**
 * Undefined for a file of which HAMi-core has not begun to make a region. The tenant can write what it likes in it: everything is checked.
 * Throws `Refusal` ContainerUnsupported.
 */
export function parseRegion(read: ReadRegion, size: number): Region | undefined {
  if (size === 0) return undefined;
  const layout = [USUAL, EARLY].find(({ bytes }) => size === bytes || size === bytes + 1);
  if (layout === undefined) throw malformed(`its size must be ${USUAL.bytes + 1} bytes, is ${size}`);
  const head = exactly(read, 0, layout.smLimit + 8 * MAX_GPUS);
  const magic = head.readInt32LE(0);
  if (magic === 0) return undefined;
  const version = `${head.readUInt32LE(4)}.${head.readUInt32LE(8)}`;
  if (magic !== MAGIC) throw malformed(`it must begin with ${MAGIC}, begins with ${magic}`);
  if (version !== '1.1' && version !== '1.2') throw malformed(`its version must be 1.1 or 1.2, is ${version}`);
  const programs = exactly(read, layout.procNum, 4).readInt32LE();
  if (programs < 0 || programs > 1_024) throw malformed(`it must count 0 to 1024 programs, counts ${programs}`);
  return { layout, head, hasPrograms: () => isAnyIn(read, layout, programs), gpus: gpusIn(head, layout) };
}

/** A program that ends leaves its slot behind, with 0 for its process id. */
function isAnyIn(read: ReadRegion, { smLimit }: Layout, count: number): boolean {
  const slots = smLimit + 8 * MAX_GPUS;
  return Array.from({ length: count }).some(
    (_, index) => exactly(read, slots + SLOT_BYTES * index, 4).readInt32LE() !== 0,
  );
}

function exactly(read: ReadRegion, offset: number, length: number): Buffer {
  const bytes = read(offset, length);
  if (bytes.length !== length) throw malformed('it was cut off meanwhile');
  return bytes;
}

function gpusIn(head: Buffer, { deviceNum, uuids }: Layout): readonly string[] {
  const count = head.readBigUInt64LE(deviceNum);
  if (count > BigInt(MAX_GPUS)) throw malformed(`it must have at most ${MAX_GPUS} GPUs, has ${count}`);
  return Array.from({ length: Number(count) }, (_, index) => {
    const text = head.toString('latin1', uuids + index * UUID_BYTES, uuids + (index + 1) * UUID_BYTES);
    return text.split('\0', 1)[0] ?? '';
  });
}

const malformed = (why: string): Refusal =>
  new Refusal(
    'ContainerUnsupported',
    `Cannot change the limits of the container's vGPUs: the file in which HAMi-core counts is none that is known: ${why}`,
  );

/** Bytes to write, in this order. */
export interface Edit {
  readonly offset: number;
  readonly bytes: Buffer;
}

/** What must be written so that the GPUs have these limits; nothing where they have them. Other GPUs are left alone. */
export function editsFor(region: Region, wanted: readonly GpuLimit[]): readonly Edit[] {
  const { layout, head, gpus } = region;
  const order = orderOf(region, wanted);
  const limits = wanted.flatMap(({ gpu, memoryMiB, cores }): readonly Edit[] => {
    const index = order.indexOf(gpu);
    if (index === -1) return [];
    return [
      { offset: layout.limit + 8 * index, bytes: uint64(BigInt(memoryMiB) << 20n) },
      { offset: layout.smLimit + 8 * index, bytes: uint64(BigInt(cores)) },
    ];
  });
  const names =
    order === gpus
      ? []
      : [
          ...order.map((uuid, index) => ({ offset: layout.uuids + UUID_BYTES * index, bytes: nameOf(uuid) })),
          { offset: layout.deviceNum, bytes: uint64(BigInt(order.length)) },
        ];
  return [...limits, ...names].filter(
    ({ offset, bytes }) => !head.subarray(offset, offset + bytes.length).equals(bytes),
  );
}

/**
 * In which order programs number the GPUs. NVML goes by PCI address. Programs that run keep the numbers that they know, so where some
 * do, a GPU is only added at the end. The next program writes the order anew.
 */
function orderOf({ gpus, hasPrograms }: Region, wanted: readonly GpuLimit[]): readonly string[] {
  const sorted = wanted.toSorted((a, b) => (a.busId < b.busId ? -1 : 1));
  const added = sorted.filter(({ gpu }) => !gpus.includes(gpu));
  if (added.length === 0) return gpus;
  if (gpus.length === 0 || !hasPrograms()) return sorted.map(({ gpu }) => gpu).slice(0, MAX_GPUS);
  const last = sorted.findLast(({ gpu }) => gpus.includes(gpu))?.busId ?? '';
  const atEnd = added.filter(({ busId }) => busId > last).map(({ gpu }) => gpu);
  return atEnd.length === 0 ? gpus : [...gpus, ...atEnd].slice(0, MAX_GPUS);
}

function uint64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
}

function nameOf(uuid: string): Buffer {
  const bytes = Buffer.alloc(UUID_BYTES);
  bytes.write(uuid, 0, UUID_BYTES - 1, 'latin1');
  return bytes;
}

/** Of glibc's sem_t (`struct new_sem`), shared between processes: its value, and how it is waited for. */
const SEMAPHORE = { value: 1, shared: 0x80 } as const;
/** Of `sem`, and of `sem_postinit`, which 1.1 does not have and does not look at. */
const SEMAPHORES = [24, USUAL.bytes - 32];

/** A region that no program has used yet: as HAMi-core makes one, without limits. 1.1 only logs that it is of 1.2. */
export function newRegion(): Buffer {
  const bytes = Buffer.alloc(USUAL.bytes + 1);
  bytes.writeInt32LE(MAGIC, 0);
  bytes.writeUInt32LE(1, 4);
  bytes.writeUInt32LE(2, 8);
  for (const offset of SEMAPHORES) {
    bytes.writeUInt32LE(SEMAPHORE.value, offset);
    bytes.writeUInt32LE(SEMAPHORE.shared, offset + 8);
  }
  for (let index = 0; index < MAX_GPUS; index++) bytes.writeBigUInt64LE(100n, USUAL.smLimit + 8 * index);
  // After the number of programs: `utilization_switch`, `recent_kernel` and `priority`.
  [1, 2, 1].forEach((value, index) => bytes.writeInt32LE(value, USUAL.procNum + 4 + 4 * index));
  return bytes;
}
