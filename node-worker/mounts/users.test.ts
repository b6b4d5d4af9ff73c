import { expect, test } from '@jest/globals';
import { failureOf } from '../../contract/failures.ts';
import { USER } from '../../test/node-worker/memory-node.ts';
import { busy } from './users.ts';

const causesOf = (count: number): unknown =>
  failureOf(busy(Array.from({ length: count }, (_, index) => ({ ...USER, pid: index + 1 }))))?.details?.[0];

test('busy() names each process up to twenty, and counts the others', () => {
  expect(causesOf(20)).toHaveLength(20);
  const causes = causesOf(20_000);
  expect(causes).toHaveLength(21);
  expect(causes).toContainEqual({ reason: 'Process', message: '19980 more' });
  expect(busy(Array.from({ length: 20_000 }, () => USER)).message.length).toBeLessThan(2_000);
});
