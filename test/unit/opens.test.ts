import { spawnSync } from 'node:child_process';
import { expect, test } from '@jest/globals';
import { opensOf } from '../e2e/opens.ts';

/** Making nodes needs root. */
const shell = async (line: string) => spawnSync('sh', ['-c', line], { encoding: 'utf8' });

// Major 60 is for local use (Documentation/admin-guide/devices.txt): no driver has it.
test('opensOf() tells how opens end by the node and by the number alone', async () => {
  expect(await opensOf(shell, { '/dev/null': [1, 3], '/dev/none': [1, 5], '/dev/no-driver': [60, 0] })).toEqual({
    '/dev/null': { node: 'opened', rule: 'opened' },
    '/dev/none': { node: 'absent', rule: 'opened' },
    '/dev/no-driver': { node: 'absent', rule: 'ENXIO' },
  });
});

test.each([
  ['sh: can’t open /dev/null: Operation not permitted\nabsent\n', { node: 'EPERM', rule: 'absent' }],
  ['opened\nsh: can’t create /tmp/own: No such device or address\n', { node: 'opened', rule: 'ENXIO' }],
])('opensOf() understands %j', async (stdout, opens) => {
  expect(await opensOf(async () => ({ stdout, stderr: '' }), { '/dev/null': [1, 3] })).toEqual({ '/dev/null': opens });
});

test.each([
  ['opened\nsh: can’t open /tmp/own: Permission denied\n', 'Permission denied'],
  ['opened\n', 'mknod: not found'],
])('opensOf() makes no answer of %j', async (stdout, message) => {
  const run = async () => ({ stdout, stderr: 'mknod: not found' });
  await expect(opensOf(run, { '/dev/null': [1, 3] })).rejects.toThrow(message);
});
