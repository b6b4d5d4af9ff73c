import { describe, expect, test } from '@jest/globals';
import { array, assert, constantFrom, integer, nat, oneof, property, record, uint8Array } from 'fast-check';
import { UUIDS } from '../../test/node-worker/nvidia-tree.ts';
import { RUNS } from '../../test/property-runs.ts';
import type { GpuLimit } from './engine.ts';
import { type Edit, editsFor, newRegion, parseRegion, REGION_BYTES } from './hami-region.ts';
import { Refusal } from './refusal.ts';

const [A, B] = UUIDS;
const limitOf = (gpu: string, memoryMiB = 2_000, cores = 50): GpuLimit => ({
  gpu,
  busId: gpu === A ? '0000:3b:00.0' : '0000:af:00.0',
  memoryMiB,
  cores,
});
const parse = (bytes: Buffer, size = bytes.length) =>
  parseRegion((offset, length) => bytes.subarray(offset, Math.min(offset + length, size)), size);
const editsIn = (bytes: Buffer, limits: readonly GpuLimit[]): readonly Edit[] => {
  const region = parse(bytes);
  return region === undefined ? [] : editsFor(region, limits);
};
function write(bytes: Buffer, edits: readonly Edit[]): void {
  for (const edit of edits) edit.bytes.copy(bytes, edit.offset);
}
/** As the programs of the container see it. */
const seen = (bytes: Buffer, at = 0): readonly string[] =>
  Array.from({ length: bytes.readUInt32LE(56 + at) }, (_, index) => {
    const uuid = bytes.toString('latin1', 64 + at + 96 * index, 64 + at + 96 * index + 40);
    const memory = bytes.readBigUInt64LE(1_600 + at + 8 * index) >> 20n;
    return `${uuid.slice(-2)} ${memory} ${bytes.readBigUInt64LE(1_728 + at + 8 * index)}`;
  });

/** Of which these programs are counted, by process id. */
function regionOf(gpus: readonly string[], pids: readonly number[] = []): Buffer {
  const bytes = newRegion();
  write(
    bytes,
    editsIn(
      bytes,
      gpus.map((gpu) => limitOf(gpu)),
    ),
  );
  bytes.writeInt32LE(pids.length, 2_008_896);
  pids.forEach((pid, index) => bytes.writeInt32LE(pid, 1_856 + 1_960 * index));
  return bytes;
}

describe('editsFor()', () => {
  test('writes limits once, in the order of PCI addresses', () => {
    const bytes = newRegion();
    const limits = [limitOf(B, 1_000, 30), limitOf(A, 0, 100)];
    write(bytes, editsIn(bytes, limits));
    expect([seen(bytes), editsIn(bytes, limits)]).toEqual([['a0 0 100', 'a1 1000 30'], []]);
  });

  test('changes the limits of a GPU by its UUID and those of no other', () => {
    const bytes = regionOf([A, B], [7, 8]);
    write(bytes, editsIn(bytes, [limitOf(B, 5_000, 100)]));
    expect(seen(bytes)).toEqual(['a0 2000 50', 'a1 5000 100']);
  });

  test.each([
    ['adds a GPU at the end', [A], B, ['a0 2000 50', 'a1 7 8']],
    ['leaves one out that comes first by its PCI address', [B], A, ['a1 2000 50']],
  ])('%s while programs run, which keep their numbers', (_name, gpus, added, result) => {
    const bytes = regionOf(gpus, [0, 7]);
    write(bytes, editsIn(bytes, [...gpus.map((gpu) => limitOf(gpu)), limitOf(added, 7, 8)]));
    expect(seen(bytes)).toEqual(result);
  });

  test('puts all GPUs in their order once no program runs', () => {
    const bytes = regionOf([B], [0, 0]);
    write(bytes, editsIn(bytes, [limitOf(A, 7, 8), limitOf(B)]));
    expect(seen(bytes)).toEqual(['a0 7 8', 'a1 2000 50']);
  });

  test('knows the layout in which a second semaphore comes first', () => {
    const bytes = Buffer.alloc(REGION_BYTES + 33);
    newRegion().copy(bytes, 0, 0, 56);
    bytes.writeUInt32LE(1, 8);
    write(bytes, editsIn(bytes, [limitOf(A)]));
    expect(seen(bytes, 32)).toEqual(['a0 2000 50']);
  });
});

const changed = (offset: number, value: number): Buffer => {
  const bytes = newRegion();
  bytes.writeInt32LE(value, offset);
  return bytes;
};

describe('parseRegion()', () => {
  test.each([
    ['an empty file', Buffer.alloc(0)],
    ['a file that nobody has written in', Buffer.alloc(REGION_BYTES + 1)],
  ])('takes %s for none', (_name, bytes) => {
    expect(parse(bytes)).toBeUndefined();
  });

  test.each([
    ['another size', Buffer.alloc(1_197_897), /its size must be 2008953 bytes, is 1197897/],
    ['another beginning', changed(0, 1), /it must begin with 19920718, begins with 1$/],
    ['a later version', changed(8, 3), /its version must be 1\.1 or 1\.2, is 1\.3/],
    ['too many GPUs', changed(56, 17), /at most 16 GPUs, has 17/],
    ['too few programs', changed(2_008_896, -1), /0 to 1024 programs, counts -1/],
  ])('refuses %s', (_name, bytes, message) => {
    expect(() => parse(bytes)).toThrow(message);
  });

  test('refuses a file that is cut off meanwhile', () => {
    expect(() => parseRegion(() => Buffer.alloc(4), REGION_BYTES)).toThrow('it was cut off meanwhile');
  });

  test('refuses what a tenant has written, or changes nothing but limits, and once', () => {
    const spoilt = record({
      size: oneof(
        { weight: 9, arbitrary: constantFrom(REGION_BYTES, REGION_BYTES + 1, REGION_BYTES + 33) },
        nat(3_000_000),
      ),
      writes: array(
        record({
          offset: oneof(nat(1_990), integer({ min: 2_008_890, max: REGION_BYTES })),
          bytes: oneof(uint8Array({ maxLength: 100 }), constantFrom(Buffer.from(A), Buffer.from([1]), Buffer.alloc(8))),
        }),
        { maxLength: 12 },
      ),
      limits: array(
        record({
          gpu: constantFrom(A, B, 'GPU-c'),
          busId: constantFrom('0', '1'),
          memoryMiB: nat(99_999),
          cores: nat(100),
        }),
        {
          maxLength: 3,
        },
      ),
    });
    const fresh = newRegion();
    assert(
      property(spoilt, ({ size, writes, limits }) => {
        // Of the rest nothing is read.
        const head = Buffer.from(fresh.subarray(0, 2_000));
        const tail = Buffer.from(fresh.subarray(2_000_000));
        for (const { offset, bytes } of writes)
          Buffer.from(bytes).copy(offset < 2_000 ? head : tail, offset < 2_000 ? offset : offset - 2_000_000);
        const read = (offset: number, length: number): Buffer => {
          const end = Math.min(offset + length, size);
          if (offset < 2_000) return head.subarray(offset, end);
          return offset < 2_000_000
            ? Buffer.alloc(Math.max(0, end - offset))
            : tail.subarray(offset - 2_000_000, end - 2_000_000);
        };
        const wanted = [...new Map(limits.map((limit) => [limit.gpu, limit])).values()];
        try {
          const region = parseRegion(read, size);
          const edits = region === undefined ? [] : editsFor(region, wanted);
          expect(edits.every(({ offset, bytes }) => offset >= 56 && offset + bytes.length <= 1_888)).toBe(true);
          write(head, edits);
          const after = parseRegion(read, size);
          expect(after === undefined ? [] : editsFor(after, wanted)).toEqual([]);
        } catch (err) {
          if (!(err instanceof Refusal)) throw err;
          expect([err.type, /^Cannot change [^\n]{10,300}$/.test(err.message)]).toEqual(['ContainerUnsupported', true]);
        }
      }),
      { numRuns: RUNS },
    );
  });
});
