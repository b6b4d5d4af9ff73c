import { describe, expect, test } from '@jest/globals';
import { excuseOf, type Overlap, overlapsIn } from './overlap.ts';
import { parseRuns, type Run } from './runs.ts';

/** Tries of 1 ms, the first from `from`, the last until `to`. */
const usable = (pod: string, from: number, to: number, more: Partial<Run> = {}): Run => {
  const tries = to - from > 1 ? 2 : 1;
  return { pod, node: 'n', how: 'open', could: true, tries, firstMs: [from, from + 1], lastMs: [to - 1, to], ...more };
};

describe('overlapsIn()', () => {
  test.each<[string, readonly Run[], readonly (readonly [number, number])[]]>([
    ['one after the other', [usable('a', 0, 10), usable('b', 10, 20)], []],
    ['tries at the edge that may have been one after the other', [usable('a', 0, 10), usable('b', 8, 20)], []],
    ['both in the middle', [usable('a', 0, 10), usable('b', 5, 20)], [[6, 9]]],
    ['one within the other', [usable('a', 0, 100), usable('b', 50, 60)], [[51, 59]]],
    [
      'the second of two within a long one',
      [usable('a', 0, 100), usable('b', 10, 20), usable('c', 30, 40)],
      [
        [11, 19],
        [31, 39],
      ],
    ],
    ['a single try within', [usable('a', 0, 100), usable('b', 50, 51)], [[50, 51]]],
    ['a single try at the edge', [usable('a', 0, 100), usable('b', 98.5, 99.5)], []],
    ['kept open while the other opens', [usable('a', 0, 100, { how: 'hold' }), usable('b', 50, 60)], [[51, 59]]],
    ['the same pod', [usable('a', 0, 10), usable('a', 0, 10, { how: 'hold' })], []],
    ['another node', [usable('a', 0, 10), usable('b', 0, 10, { node: 'other' })], []],
    ['only tries that failed', [usable('a', 0, 10), usable('b', 0, 10, { could: false })], []],
  ])('%s', (_name, runs, expected) => {
    for (const order of [runs, runs.toReversed()])
      expect(overlapsIn(order).map(({ fromMs, toMs }) => [fromMs, toMs])).toEqual(expected);
  });
});

describe('excuseOf()', () => {
  const overlap: Overlap = { node: 'n', pods: ['a', 'b'], fromMs: 100, toMs: 200 };
  const excuse = { why: 'forced', node: 'n', pod: 'b', fromMs: 50, toMs: 150 };
  test.each([
    ['the pod, the node and the time', excuse, true],
    ['a whole node', { why: 'frozen', node: 'n', fromMs: 50, toMs: 150 }, true],
    ['another pod', { ...excuse, pod: 'c' }, false],
    ['another node', { ...excuse, node: 'm' }, false],
    ['too early', { ...excuse, fromMs: 101 }, false],
    ['too late', { ...excuse, toMs: 99 }, false],
  ])('looks at %s', (_name, one, expected) => {
    expect(excuseOf(overlap, [one]) !== undefined).toBe(expected);
  });
});

test('parseRuns() reads the records that are complete', () => {
  const file = Buffer.alloc(64 * 4);
  const write = (at: number, times: readonly bigint[], tries: bigint, answer: number, used: number): void => {
    times.forEach((time, index) => file.writeBigInt64LE(time * 1_000_000n, at * 64 + index * 8));
    file.writeBigUInt64LE(tries, at * 64 + 32);
    file.writeInt32LE(answer, at * 64 + 40);
    file.writeInt32LE(used, at * 64 + 44);
  };
  write(0, [10n, 11n, 18n, 19n], 5n, 0, 1);
  write(1, [20n, 21n, 20n, 21n], 1n, 1, 1);
  write(2, [30n, 31n, 30n, 31n], 1n, 0, 0);
  const [first, second, ...rest] = parseRuns(file, 'hold', { pod: 'a', node: 'n' });
  expect(rest).toEqual([]);
  expect(first).toMatchObject({ pod: 'a', node: 'n', how: 'hold', could: true, tries: 5 });
  expect(second).toMatchObject({ could: false, tries: 1 });
  expect((second?.firstMs[0] ?? 0) - (first?.firstMs[0] ?? 0)).toBeCloseTo(10, 2);
  expect((first?.lastMs[1] ?? 0) - (first?.firstMs[0] ?? 0)).toBeCloseTo(9, 2);
});
