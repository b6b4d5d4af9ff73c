import koffi from 'koffi';

/** Asks CUDA how many GPUs it can use, and prints that as JSON; `result` is a CUresult, 0 for success. */
const cuda = koffi.load('libcuda.so.1');
const cuInit = cuda.func('int cuInit(unsigned int flags)');
const cuDeviceGetCount = cuda.func('int cuDeviceGetCount(_Out_ int *count)');

const count = [0];
const init = Number(cuInit(0));
const result = init === 0 ? Number(cuDeviceGetCount(count)) : init;
console.log(JSON.stringify({ result, count: count[0] }));
