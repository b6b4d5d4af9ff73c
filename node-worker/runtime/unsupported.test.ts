import { describe, expect, test } from '@jest/globals';
import { unsupported } from './unsupported.ts';

describe('unsupported()', () => {
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
  ])('takes handler "%s" with shim %s for one that can be changed', (runtimeHandler, runtimeType) => {
    expect(unsupported({ id: 'c', pid: 1, runtimeHandler, runtimeType })).toBeUndefined();
  });

  test.each([
    ['kata', 'io.containerd.kata.v2', 'it runs in "io.containerd.kata.v2", not on the kernel of the node'],
    ['sandboxed', 'io.containerd.runsc.v1', 'it runs in "io.containerd.runsc.v1", not on the kernel of the node'],
    ['', 'io.containerd.wasmtime.v1', 'it runs in "io.containerd.wasmtime.v1", not on the kernel of the node'],
    ['runc', 'aws.firecracker', 'it runs in "aws.firecracker", not on the kernel of the node'],
    ['kata-qemu', undefined, 'its runtime "kata-qemu" does not run it on the kernel of the node'],
    ['gvisor', undefined, 'its runtime "gvisor" does not run it on the kernel of the node'],
    ['runsc', undefined, 'its runtime "runsc" does not run it on the kernel of the node'],
    [
      'sysbox-runc',
      'io.containerd.runc.v2',
      'its runtime "sysbox-runc" keeps it in cgroups of its own, which is not supported',
    ],
    ['kata-clh', undefined, 'its runtime "kata-clh" does not run it on the kernel of the node'],
  ])('says why it cannot be changed, of handler "%s" with shim %s', (runtimeHandler, runtimeType, why) => {
    expect(unsupported({ id: 'c', pid: 1, runtimeHandler, runtimeType })).toBe(why);
  });
});
