import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { DurableFiles } from './durable-files.ts';
import { FileMountStore } from './mount-store.ts';
import { Tombstones } from './tombstones.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const LIMITS = { served: { ms: 7 * DAY, count: 3 }, named: { ms: 2 * HOUR, count: 2 } };

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tombstones-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

const open = async (nowMs: number): Promise<Tombstones> => Tombstones.open(await DurableFiles.open(dir), nowMs, LIMITS);
const files = (): readonly string[] => readdirSync(join(dir, 'tombstones')).toSorted();

describe('Tombstones', () => {
  test('of slaves that were served stay for a week, of others for two hours, while the process runs', async () => {
    const tombstones = await open(0);
    await tombstones.add(['a'], 'served', 0);
    await tombstones.add(['b'], 'named', 0);
    await tombstones.add(['c'], 'named', 2 * HOUR + 1);
    expect(files()).toEqual(['a', 'c']);
    expect(['a', 'b', 'c'].map((uid) => tombstones.has(uid))).toEqual([true, false, true]);
    await tombstones.add(['d'], 'served', 7 * DAY + 1);
    expect(files()).toEqual(['d']);
  });

  test('never get more than there is room for, and names do not push out those that were served', async () => {
    const tombstones = await open(0);
    await tombstones.add(['a'], 'served', 1);
    for (let n = 1; n <= 9; n++) await tombstones.add([`named-${n}`], 'named', n);
    expect(files()).toEqual(['a', 'named-8', 'named-9']);
    await tombstones.add(['b', 'c', 'd'], 'served', 10);
    expect(files()).toEqual(['b', 'c', 'd', 'named-8', 'named-9']);
  });

  test('are the same after a restart', async () => {
    const tombstones = await open(0);
    await tombstones.add(['b'], 'served', HOUR);
    await tombstones.add(['a'], 'named', 2 * HOUR);
    const again = await open(3 * HOUR);
    expect([again.has('a'), again.has('b')]).toEqual([true, true]);
    await again.add(['c', 'd'], 'named', 3 * HOUR);
    expect(files()).toEqual(['b', 'c', 'd']);
  });

  test('of an earlier release count as of slaves that were served', async () => {
    mkdirSync(join(dir, 'tombstones'));
    writeFileSync(join(dir, 'tombstones', 'a'), `${new Date(0).toISOString()}\n`);
    expect((await open(7 * DAY)).has('a')).toBe(true);
    expect((await open(7 * DAY + 1)).has('a')).toBe(false);
    expect(files()).toEqual([]);
  });
});

test('FileMountStore.bury() keeps UIDs of which there was no checkpoint for two hours only', async () => {
  const store = await FileMountStore.open(dir);
  await store.bury(['named-by-somebody']);
  expect((await FileMountStore.open(dir)).buried('named-by-somebody')).toBe(true);
  expect((await FileMountStore.open(dir, Date.now() + 3 * HOUR)).buried('named-by-somebody')).toBe(false);
});
