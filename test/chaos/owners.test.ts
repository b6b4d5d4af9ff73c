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

const run = (pod: string, from: number, to: number, node = 'n'): Run => {
  return { pod, node, how: 'open', could: true, tries: 9, firstMs: [from, from + 1], lastMs: [to - 1, to] };
};
const why = (runs: readonly Run[], absences: Parameters<typeof excusesOf>[0] = []): (string | undefined)[] =>
  judgedOverlaps(runs, history, excusesOf(absences)).map(({ excuse }) => excuse?.why);

test('a slave that was deleted by force excuses its target, on its node, for a while', () => {
  expect(why([run('a', 0, 1_500), run('b', 1_200, 2_000)])).toEqual(['a slave was deleted by force']);
  expect(why([run('c', 0, 1_500), run('b', 1_200, 2_000)])).toEqual([undefined]);
  expect(why([run('a', 0, 900), run('b', 500, 2_000)])).toEqual([undefined]);
  expect(why([run('a', 0, 1_500, 'm'), run('b', 1_200, 2_000, 'm')])).toEqual([undefined]);
  expect(why([run('a', 0, 99_000), run('b', 50_000, 90_000)])).toEqual([undefined]);
});

test('a node worker that was away excuses its node only once an ending slave has waited in vain', () => {
  const runs = [run('c', 0, 80_000), run('b', 60_000, 70_000)];
  expect(why(runs, [{ node: 'n', fromMs: 30_000, toMs: 65_000 }])).toEqual(['node worker away']);
  expect(why(runs, [{ node: 'n', fromMs: 50_000, toMs: 65_000 }])).toEqual([undefined]);
  expect(why(runs, [{ node: 'n', fromMs: 40_000, toMs: 90_000 }])).toEqual([undefined]);
  expect(why(runs, [{ node: 'n', fromMs: 0, toMs: 45_000 }])).toEqual([undefined]);
  expect(why(runs, [{ node: 'n', fromMs: 33_000, toMs: 55_000 }])).toEqual([undefined]);
  expect(why(runs, [{ node: 'm', fromMs: 30_000, toMs: 65_000 }])).toEqual([undefined]);
});
