import { expect, test } from '@jest/globals';
import { aggregated, ROOT } from './direct.ts';

/** Kept the server busy for seconds when it was parsed in cubic time. */
const HOSTILE = `a${' '.repeat(2_200)}x\ny`;
/** As long, and right. */
const ORDINARY = `a in (${'x,'.repeat(1_099)})`;
const AT_ONCE = 4;
const ROUNDS = 5;

interface Timed {
  readonly codes: readonly number[];
  /** Until the last of them was answered. */
  readonly tookMs: number;
}

async function answers(path: string): Promise<Timed> {
  const startedMs = performance.now();
  const sent = Array.from({ length: AT_ONCE }, () => aggregated({ path }));
  const codes = (await Promise.all(sent)).map(({ code }) => code);
  return { codes, tookMs: performance.now() - startedMs };
}

/** Lists with this selector, and discovery at the same time. */
async function round(labelSelector: string): Promise<{ readonly lists: Timed; readonly discovery: Timed }> {
  const query = new URLSearchParams({ labelSelector }).toString();
  const [lists, discovery] = await Promise.all([
    answers(`${ROOT}/namespaces/default/devicemounts?${query}`),
    answers(ROOT),
  ]);
  return { lists, discovery };
}

/** Of several rounds the quickest: whatever else the machine does can only make one slower. */
const quickest = (timed: readonly Timed[]): number => Math.min(...timed.map(({ tookMs }) => tookMs));

test('four requests with a hostile label selector are refused as soon as others are served, and discovery does not wait', async () => {
  const rounds = [];
  for (let index = 0; index < ROUNDS; index++) {
    rounds.push({ ordinary: await round(ORDINARY), hostile: await round(HOSTILE) });
  }
  for (const { ordinary, hostile } of rounds) {
    expect(new Set(hostile.lists.codes)).toEqual(new Set([400]));
    const served = [ordinary.lists, ordinary.discovery, hostile.discovery].flatMap(({ codes }) => codes);
    expect(new Set(served)).toEqual(new Set([200]));
  }
  const discoveryMs = quickest(rounds.map(({ ordinary }) => ordinary.discovery));
  expect(quickest(rounds.map(({ hostile }) => hostile.discovery)) / discoveryMs).toBeLessThan(4);
  const listsMs = quickest(rounds.map(({ ordinary }) => ordinary.lists));
  expect(quickest(rounds.map(({ hostile }) => hostile.lists)) / listsMs).toBeLessThan(4);
});
