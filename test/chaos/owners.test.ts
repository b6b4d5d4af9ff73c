import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { History } from './history.ts';
import { excusesOf } from './node-worker-watch.ts';
import { judgedOverlaps } from './owners.ts';
import type { Run } from './witness/runs.ts';

const folder = mkdtempSync(join(tmpdir(), 'chaos-owners-'));
let history: History;
beforeAll(() => {
  history = new History(join(folder, 'history.jsonl'));
  history.add({
    type: 'fault',
    fault: { index: 1, kind: 'delete slave by force', node: 'n', afterMs: 0, holdMs: 0, which: 0 },
    atMs: 1_000,
    hit: 'a-slave',
    pod: 'a',
  });
});
afterAll(() => {
  history.close();
  rmSync(folder, { recursive: true });
});

const usable = (pod: string, from: number, to: number, node = 'n'): Run => {
  return { pod, node, how: 'open', could: true, tries: 9, firstMs: [from, from + 1], lastMs: [to - 1, to] };
};
const why = (runs: readonly Run[], absences: Parameters<typeof excusesOf>[0] = []): (string | undefined)[] =>
  judgedOverlaps(runs, history, excusesOf(absences)).map(({ excuse }) => excuse?.why);

test('a slave that was deleted by force excuses its target, on its node, for a while', () => {
  expect(why([usable('a', 0, 1_500), usable('b', 1_200, 2_000)])).toEqual(['a slave was deleted by force']);
  expect(why([usable('c', 0, 1_500), usable('b', 1_200, 2_000)])).toEqual([undefined]);
  expect(why([usable('a', 0, 900), usable('b', 500, 2_000)])).toEqual([undefined]);
  expect(why([usable('a', 0, 1_500, 'm'), usable('b', 1_200, 2_000, 'm')])).toEqual([undefined]);
  expect(why([usable('a', 0, 99_000), usable('b', 50_000, 90_000)])).toEqual([undefined]);
});

test('a node worker that was away excuses its node only once an ending slave has waited in vain', () => {
  const runs = [usable('c', 0, 80_000), usable('b', 60_000, 70_000)];
  expect(why(runs, [{ node: 'n', fromMs: 30_000, toMs: 65_000 }])).toEqual(['node worker away']);
  expect(why(runs, [{ node: 'n', fromMs: 50_000, toMs: 65_000 }])).toEqual([undefined]);
  expect(why(runs, [{ node: 'n', fromMs: 40_000, toMs: 90_000 }])).toEqual([undefined]);
  expect(why(runs, [{ node: 'n', fromMs: 0, toMs: 45_000 }])).toEqual([undefined]);
  expect(why(runs, [{ node: 'n', fromMs: 33_000, toMs: 55_000 }])).toEqual([undefined]);
  expect(why(runs, [{ node: 'm', fromMs: 30_000, toMs: 65_000 }])).toEqual([undefined]);
});
