import { describe, expect, test } from '@jest/globals';
import { ownKernelOf } from './shared-kernel.ts';

describe('ownKernelOf()', () => {
  test.each([
    ['', 'io.containerd.runc.v2', true],
    ['nvidia', 'io.containerd.runc.v2', true],
    ['kata', 'io.containerd.kata.v2', false],
    ['sandboxed', 'io.containerd.runsc.v1', false],
    ['', undefined, true],
    ['crun', undefined, true],
    ['runc', undefined, true],
    ['kata-qemu', undefined, false],
    ['gvisor', undefined, false],
  ])('tells handler "%s" with shim %s apart', (runtimeHandler, runtimeType, shared) => {
    expect(ownKernelOf({ id: 'c', pid: 1, runtimeHandler, runtimeType }) === undefined).toBe(shared);
  });
});
