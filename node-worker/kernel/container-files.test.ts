import { expect, test } from '@jest/globals';
import { unplaceable } from './container-files.ts';
import { Refusal } from './refusal.ts';
import { SyscallError } from './syscall.ts';

test.each([
  ['mount_setattr', 'ENOSYS', 'the kernel of the node is older than Linux 5.12'],
  ['openat', 'EXDEV', 'something is mounted there or above it, such as a volume'],
  ['openat', 'EROFS', 'its root file system is read-only'],
  ['move_mount', 'EPERM', 'the kernel answers EPERM'],
] as const)('unplaceable() says why %s answers %s', (call, code, why) => {
  const refusal = unplaceable('/opt/tool', new SyscallError(call, code, ''));
  expect(refusal).toBeInstanceOf(Refusal);
  expect(refusal).toMatchObject({
    type: 'ContainerUnsupported',
    message: `Cannot give "/opt/tool" to the container: ${why}`,
  });
});

test('unplaceable() leaves other refusals and faults as they are', () => {
  const [refusal, fault] = [new Refusal('NotFound', 'x'), new TypeError('y')];
  expect([refusal, fault].map((err) => unplaceable('/opt/tool', err))).toEqual([refusal, fault]);
});
