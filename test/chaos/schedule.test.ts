import { expect, test } from '@jest/globals';
import { FAULTS, KINDS, partOf } from './faults.ts';
import { Random } from './random.ts';
import { type PlannedFault, scheduleOf, wordsOf } from './schedule.ts';

const NODES = ['node-1', 'node-2', 'node-3'];
const first = (count: number, seed: number): PlannedFault[] =>
  scheduleOf(new Random(seed), NODES).take(count).toArray();

test('scheduleOf() depends on the seed alone', () => {
  expect(first(300, 7)).toEqual(first(300, 7));
  expect(first(300, 7).slice(0, 20)).toEqual(first(20, 7));
  expect(first(20, 7)).not.toEqual(first(20, 8));
});

test('scheduleOf() has every kind of fault, on every node that it can be on', () => {
  const places = new Set(first(3_000, 1).map(({ kind, node }) => `${kind} ${node}`));
  const all = KINDS.flatMap((kind) =>
    (FAULTS[kind].where === 'cluster' ? [undefined] : NODES).map((node) => `${kind} ${node}`),
  );
  expect([...places].toSorted()).toEqual(all.toSorted());
});

test('scheduleOf() leaves a part alone until it is back', () => {
  let atMs = 0;
  const until = new Map<string, number>();
  for (const { kind, node, afterMs, holdMs } of first(1_000, 3)) {
    atMs += afterMs;
    const key = `${FAULTS[kind].group} ${node}`;
    expect(atMs).toBeGreaterThanOrEqual(until.get(key) ?? 0);
    until.set(key, atMs + holdMs + FAULTS[kind].calmMs);
  }
});

test('only one kind keeps a node worker away for longer than a slave waits', () => {
  const long = KINDS.filter((kind) => FAULTS[kind].holdMs[1] + FAULTS[kind].calmMs >= 25_000);
  expect(long).toEqual(['freeze node worker too long']);
});

test.each([
  ['kill kube-apiserver', 'kube-apiserver'],
  ['freeze node worker too long', 'node worker'],
  ['delete slave by force', 'slave'],
  ['delete slave within a second', 'slave'],
] as const)('partOf() of "%s" is %s', (kind, part) => {
  expect(partOf(kind)).toBe(part);
});

test.each<[Partial<PlannedFault>, string]>([
  [{ kind: 'kill kubelet', node: 'node-2', holdMs: 1_234 }, '#5 kill kubelet on node-2, away for 1.2 s'],
  [{ kind: 'freeze etcd', holdMs: 9_000 }, '#5 freeze etcd, for 9.0 s'],
  [{ kind: 'delete slave', node: 'node-1', holdMs: 0 }, '#5 delete slave on node-1'],
])('wordsOf() of %j', (fault, words) => {
  expect(wordsOf({ index: 5, kind: 'kill etcd', afterMs: 0, holdMs: 0, which: 0, ...fault })).toBe(words);
});

test('weighted() draws each key as often as its weight says', () => {
  const random = new Random(1);
  const drawn = Array.from({ length: 10_000 }, () => random.weighted({ often: 3, seldom: 1, never: 0 }));
  const often = drawn.filter((key) => key === 'often').length;
  expect(often).toBeGreaterThan(7_300);
  expect(often).toBeLessThan(7_700);
  expect(drawn).not.toContain('never');
});
