import { describe, expect, test } from '@jest/globals';
import { brokenMounts, brokenPoliteness, brokenQuiet, brokenRefusals, slowCalls } from './checks.ts';
import type { Call, Quiet, Struck } from './history.ts';
import type { Run } from './witness/runs.ts';

const run = (from: number, to: number, more: Partial<Run> = {}): Run => ({
  pod: 'a',
  node: 'n',
  how: 'open',
  could: true,
  tries: 10,
  firstMs: [from, from + 1],
  lastMs: [to - 1, to],
  ...more,
});
const call = (more: Partial<Call> = {}): Call => ({
  type: 'call',
  verb: 'mount',
  pod: 'a',
  node: 'n',
  name: 'm',
  resource: 'fuse',
  fromMs: 100,
  toMs: 200,
  status: 200,
  phase: 'Mounted',
  ...more,
});
const struck = (kind: Struck['fault']['kind'], atMs: number, more: Partial<Struck> = {}): Struck => ({
  type: 'fault',
  fault: { index: 1, kind, afterMs: 0, holdMs: 1_000, which: 0 },
  atMs,
  hit: 'it',
  ...more,
});

const broken = (calls: readonly Call[], runs: readonly Run[], faults: readonly Struck[] = []): number =>
  brokenMounts(calls, faults, runs, 'fuse').length;

describe('brokenQuiet()', () => {
  const quiet: Quiet = { type: 'quiet', pod: 'a', node: 'n', name: 'm', why: 'its unmount', fromMs: 100, toMs: 200 };
  test.each<[string, Run, boolean]>([
    ['a use before', run(0, 100), false],
    ['a use that goes on', run(0, 150), true],
    ['a use in between', run(120, 130), true],
    ['a use all the time', run(0, 300), true],
    ['a use that begins afterwards', run(200, 300), false],
    ['tries that failed', run(120, 130, { could: false }), false],
    ['another pod', run(120, 130, { pod: 'b' }), false],
  ])('%s', (_name, one, isBroken) => {
    expect(brokenQuiet([quiet], [one])).toHaveLength(isBroken ? 1 : 0);
  });
});

describe('brokenMounts()', () => {
  test('a mount that nobody could use is told', () => {
    expect(broken([call()], [])).toBe(1);
    expect(broken([call()], [run(0, 90)])).toBe(1);
    expect(broken([call()], [run(1_300, 1_400)])).toBe(1);
    expect(broken([call()], [run(150, 160, { could: false })])).toBe(1);
  });

  test('one that was used, failed, or is of another device is not', () => {
    expect(broken([call()], [run(150, 160)])).toBe(0);
    expect(broken([call()], [run(900, 1_000)])).toBe(0);
    expect(broken([call({ status: 409 })], [])).toBe(0);
    expect(broken([call({ resource: 'kmsg' })], [])).toBe(0);
  });

  test('what was done to pod or slave excuses it', () => {
    expect(broken([call()], [], [struck('delete slave', 150, { pod: 'a' })])).toBe(0);
    expect(broken([call()], [], [struck('delete slave', 150, { pod: 'b' })])).toBe(1);
    expect(broken([call()], [], [struck('kill Temporal', 150)])).toBe(1);
  });
});

describe('brokenPoliteness()', () => {
  const polite = call({ verb: 'unmount', force: false });
  const held = run(0, 150, { how: 'hold' });
  test.each<[string, Call, readonly Run[], readonly Struck[], number]>([
    ['a device that was kept open', polite, [held], [], 1],
    ['a device that was kept open all the time', polite, [run(0, 300, { how: 'hold' })], [], 1],
    ['an unmount by force', { ...polite, force: true }, [held], [], 0],
    ['an unmount that was refused', { ...polite, status: 409 }, [held], [], 0],
    ['a lease, which may have ended', { ...polite, leased: true }, [held], [], 0],
    ['another device', { ...polite, resource: 'kmsg' }, [held], [], 0],
    ['a device that was opened and closed', polite, [run(0, 150)], [], 0],
    ['a device that was kept open before', polite, [run(0, 90, { how: 'hold' })], [], 0],
    ['a device that was kept open afterwards', polite, [run(110, 150, { how: 'hold' })], [], 0],
    ['another pod', polite, [run(0, 150, { how: 'hold', pod: 'b' })], [], 0],
    ['a slave that was hit', polite, [held], [struck('evict slave', 50, { pod: 'a' })], 0],
    ['another slave that was hit', polite, [held], [struck('evict slave', 50, { pod: 'b' })], 1],
    ['a slave that was hit afterwards', polite, [held], [struck('evict slave', 600, { pod: 'a' })], 1],
  ])('%s', (_name, one, runs, faults, expected) => {
    expect(brokenPoliteness([one], faults, runs, 'fuse')).toHaveLength(expected);
  });
});

describe('brokenRefusals()', () => {
  const refused = call({ verb: 'unmount', force: false, status: 409, failure: 'DeviceBusy' });
  const without = run(250, 400, { could: false });
  test.each<[string, Call, readonly Run[], readonly Struck[], number]>([
    ['a device that is gone all the same', refused, [without], [], 1],
    ['a device that was gone before', refused, [run(100, 900, { could: false })], [], 1],
    ['a device that stayed', refused, [run(0, 900)], [], 0],
    ['a device that went later', refused, [run(501, 900, { could: false })], [], 0],
    ['another pod', refused, [{ ...without, pod: 'b' }], [], 0],
    ['another failure', { ...refused, failure: 'NothingMounted' }, [without], [], 0],
    ['a lease, which may have ended', { ...refused, leased: true }, [without], [], 0],
    ['a slave that was hit', refused, [without], [struck('evict slave', 50, { pod: 'a' })], 0],
  ])('%s', (_name, one, runs, faults, expected) => {
    expect(brokenRefusals([one], faults, runs, 'fuse')).toHaveLength(expected);
  });
});

test('slowCalls() counts only those that kube-apiserver was there for', () => {
  const slow = call({ fromMs: 0, toMs: 51_000 });
  expect(slowCalls([slow], [])).toHaveLength(1);
  expect(slowCalls([call({ fromMs: 0, toMs: 49_000 })], [])).toEqual([]);
  expect(slowCalls([slow], [struck('kill etcd', 10_000)])).toEqual([]);
  expect(slowCalls([slow], [struck('kill kube-apiserver', 60_000)])).toHaveLength(1);
  expect(slowCalls([slow], [struck('kill Temporal', 10_000)])).toHaveLength(1);
});
