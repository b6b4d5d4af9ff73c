/** What a shared library says of itself (elf(5), PT_DYNAMIC). */
export interface Library {
  /** The name that programs ask the loader for; absent where it has none. */
  readonly soname?: string;
  /** Names of the libraries that it needs. */
  readonly needs: readonly string[];
}

/** Bytes of a file at `offset`, fewer at its end. */
export type ReadAt = (offset: number, length: number) => Buffer;

const HEADER_BYTES = 64;
const SEGMENT_BYTES = 56;
const ENTRY_BYTES = 16;
/** Of libraries: NVIDIA's largest has 11 segments, 40 entries and 300 KiB of names. */
const MAX_SEGMENTS = 64;
const MAX_ENTRIES = 1_024;
const MAX_NAMES = 8 * 1024 * 1024;
const MAX_NAME = 255;
const ET_DYN = 3;
const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const DT = { needed: 1n, strtab: 5n, strsz: 10n, soname: 14n } as const;
const MACHINES: Readonly<Record<string, number>> = { x64: 62, arm64: 183 };

/** Reads a library of this machine's kind, 64 bits and little endian; undefined for every other file, also a damaged one. */
export function parseLibrary(readAt: ReadAt, arch: string = process.arch): Library | undefined {
  try {
    return parse(readAt, arch);
  } catch (err) {
    if (isRangeError(err)) return undefined;
    throw err;
  }
}

/** Not by `instanceof`: errors of Buffer can come from another realm. */
const isRangeError = (err: unknown): boolean =>
  typeof err === 'object' && err !== null && 'name' in err && err.name === 'RangeError';

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: bigint;
  readonly size: number;
}

function parse(readAt: ReadAt, arch: string): Library | undefined {
  const header = readAt(0, HEADER_BYTES);
  const isElf = header.readUInt32BE(0) === 0x7f454c46 && header[4] === 2 && header[5] === 1;
  if (!isElf || header.readUInt16LE(16) !== ET_DYN || header.readUInt16LE(18) !== MACHINES[arch]) return undefined;
  const segments = segmentsOf(readAt, header);
  const dynamic = segments.find(({ type }) => type === PT_DYNAMIC);
  if (dynamic === undefined) return undefined;
  const entries = entriesOf(readAt(dynamic.offset, Math.min(dynamic.size, MAX_ENTRIES * ENTRY_BYTES)));
  const valueOf = (tag: bigint): bigint | undefined => entries.find((entry) => entry.tag === tag)?.value;
  const names = namesAt(readAt, segments, valueOf(DT.strtab), valueOf(DT.strsz));
  const soname = valueOf(DT.soname);
  return {
    ...(soname !== undefined && { soname: nameAt(names, soname) }),
    needs: entries.filter(({ tag }) => tag === DT.needed).map(({ value }) => nameAt(names, value)),
  };
}

function segmentsOf(readAt: ReadAt, header: Buffer): readonly Segment[] {
  const count = Math.min(header.readUInt16LE(56), MAX_SEGMENTS);
  const table = readAt(Number(header.readBigUInt64LE(32)), count * SEGMENT_BYTES);
  return Array.from({ length: count }, (_, index) => {
    const at = index * SEGMENT_BYTES;
    return {
      type: table.readUInt32LE(at),
      offset: Number(table.readBigUInt64LE(at + 8)),
      address: table.readBigUInt64LE(at + 16),
      size: Number(table.readBigUInt64LE(at + 32)),
    };
  });
}

interface Entry {
  readonly tag: bigint;
  readonly value: bigint;
}

/** Up to the first that is empty. */
function entriesOf(table: Buffer): readonly Entry[] {
  const count = Math.floor(table.length / ENTRY_BYTES);
  const all = Array.from({ length: count }, (_, index) => ({
    tag: table.readBigUInt64LE(index * ENTRY_BYTES),
    value: table.readBigUInt64LE(index * ENTRY_BYTES + 8),
  }));
  const end = all.findIndex(({ tag }) => tag === 0n);
  return end < 0 ? all : all.slice(0, end);
}

/** The table of names lies at an address in memory; the segment that is loaded there says where it is in the file. */
function namesAt(readAt: ReadAt, segments: readonly Segment[], address = 0n, size = 0n): Buffer {
  const segment = segments.find(
    (one) => one.type === PT_LOAD && address >= one.address && address < one.address + BigInt(one.size),
  );
  if (segment === undefined || size > BigInt(MAX_NAMES)) throw new RangeError('no table of names');
  return readAt(segment.offset + Number(address - segment.address), Number(size));
}

/** A name that may be one of a file in a directory. */
function nameAt(names: Buffer, at: bigint): string {
  const start = Number(at);
  const end = names.indexOf(0, start);
  const name = names.toString('latin1', start, end);
  const isName = start < names.length && end > start && end - start <= MAX_NAME && /^[\w.+@~-]+$/.test(name);
  if (!isName || name === '.' || name === '..') throw new RangeError('no name');
  return name;
}
