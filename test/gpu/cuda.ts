import { readSync } from 'node:fs';
import koffi from 'koffi';

/**
 * Uses CUDA as a program would: counts the GPUs, writes memory of the first one and reads it back. Prints one line of JSON; `result` is
 * the CUresult of the first call that failed, or 0. With `hold` as its word it then keeps the GPU until its input ends.
 */
const WORDS = 1024;
const WORD = 0x5eed;

/** What it prints. */
export interface Asked {
  readonly result: number | string;
  readonly count: number;
  /** Whether the memory had what was written. */
  readonly isRight: boolean;
}

let cuda: ReturnType<typeof koffi.load>;
try {
  cuda = koffi.load('libcuda.so.1');
} catch {
  console.log(JSON.stringify({ result: 'no libcuda.so.1', count: 0, isRight: false }));
  process.exit(0);
}
const calls = {
  init: cuda.func('int cuInit(unsigned int flags)'),
  count: cuda.func('int cuDeviceGetCount(_Out_ int *count)'),
  retain: cuda.func('int cuDevicePrimaryCtxRetain(_Out_ uint64_t *context, int device)'),
  use: cuda.func('int cuCtxSetCurrent(uint64_t context)'),
  allocate: cuda.func('int cuMemAlloc_v2(_Out_ uint64_t *address, size_t bytes)'),
  fill: cuda.func('int cuMemsetD32_v2(uint64_t address, unsigned int word, size_t words)'),
  read: cuda.func('int cuMemcpyDtoH_v2(_Out_ void *host, uint64_t address, size_t bytes)'),
};

const [count, context, address]: [number[], (number | bigint)[], (number | bigint)[]] = [[0], [0], [0]];
const read = Buffer.alloc(4 * WORDS);
const steps: readonly (() => unknown)[] = [
  () => calls.init(0),
  () => calls.count(count),
  () => calls.retain(context, 0),
  () => calls.use(context[0]),
  () => calls.allocate(address, read.length),
  () => calls.fill(address[0], WORD, WORDS),
  () => calls.read(read, address[0], read.length),
];
let result = 0;
for (const step of steps) {
  result = Number(step());
  if (result !== 0) break;
}
const isRight = Array.from({ length: WORDS }, (_, index) => read.readUInt32LE(4 * index)).every(
  (word) => word === WORD,
);
console.log(JSON.stringify({ result, count: count[0], isRight }));
if (process.argv.includes('hold')) readSync(0, Buffer.alloc(1));
