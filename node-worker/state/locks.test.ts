import { describe, expect, test } from '@jest/globals';
import { Locks } from './locks.ts';

describe('Locks.run()', () => {
  test('runs one at a time of a key, in order, also after a failure', async () => {
    const locks = new Locks();
    const seen: string[] = [];
    const gate = Promise.withResolvers<void>();
    const first = locks.run(['a'], async () => {
      await gate.promise;
      seen.push('first');
      throw new Error('broken');
    });
    const second = locks.run(['a'], async () => seen.push('second'));
    const other = locks.run(['b'], async () => seen.push('other'));
    await other;
    gate.resolve();
    await expect(first).rejects.toThrow('broken');
    await second;
    expect(seen).toEqual(['other', 'first', 'second']);
  });

  test('takes several keys without waiting for each other', async () => {
    const locks = new Locks();
    const seen: string[] = [];
    await Promise.all([
      locks.run(['a', 'b'], async () => seen.push('1')),
      locks.run(['b', 'a', 'b'], async () => seen.push('2')),
      locks.run([], async () => seen.push('3')),
    ]);
    expect(new Set(seen)).toEqual(new Set(['1', '2', '3']));
  });
});
