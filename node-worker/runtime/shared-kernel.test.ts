import { describe, expect, test } from '@jest/globals';
import { ownKernelOf } from './shared-kernel.ts';

describe('ownKernelOf()', () => {
  test.each([
    ['', 'io.containerd.runc.v2'],
    ['nvidia', 'io.containerd.runc.v2'],
    // The name of a handler is free: the shim decides where it is known.
    ['kata-like', 'io.containerd.runc.v2'],
    ['', 'io.containerd.crun.v2'],
    ['', undefined],
    ['runc', undefined],
    ['crun', undefined],
    ['nvidia-cdi', undefined],
  ])('takes handler "%s" with shim %s for one on the kernel of the node', (runtimeHandler, runtimeType) => {
    expect(ownKernelOf({ id: 'c', pid: 1, runtimeHandler, runtimeType })).toBeUndefined();
  });

  test.each([
    ['kata', 'io.containerd.kata.v2', 'it runs in "io.containerd.kata.v2", not on the kernel of the node'],
    ['sandboxed', 'io.containerd.runsc.v1', 'it runs in "io.containerd.runsc.v1", not on the kernel of the node'],
    ['', 'io.containerd.wasmtime.v1', 'it runs in "io.containerd.wasmtime.v1", not on the kernel of the node'],
    ['runc', 'aws.firecracker', 'it runs in "aws.firecracker", not on the kernel of the node'],
    ['kata-qemu', undefined, 'its runtime "kata-qemu" does not run it on the kernel of the node'],
    ['gvisor', undefined, 'its runtime "gvisor" does not run it on the kernel of the node'],
    ['runsc', undefined, 'its runtime "runsc" does not run it on the kernel of the node'],
    ['kata-clh', undefined, 'its runtime "kata-clh" does not run it on the kernel of the node'],
  ])('says why not, of handler "%s" with shim %s', (runtimeHandler, runtimeType, why) => {
    expect(ownKernelOf({ id: 'c', pid: 1, runtimeHandler, runtimeType })).toBe(why);
  });
});
