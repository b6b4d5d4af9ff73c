import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { type HistoryEvent, isSettled, type Recording, type Span, seenSlave, spansOf } from './trace-spans.ts';
import { traceSvg, traceTable } from './trace-svg.ts';

/** Of a mount on a real Temporal server (1.31.2) and the SDK 1.24.0, without what is not read here. */
const HISTORY = JSON.parse(
  readFileSync(join(import.meta.dirname, 'fixtures', 'mount-history.json'), 'utf8'),
) as readonly HistoryEvent[];

/** 12.6 ms before the workflow started. */
const REQUESTED_MS = 1_795_716_960_590;

const seen = (afterMs: number, isScheduled: boolean, isRunning: boolean) => ({
  atMs: REQUESTED_MS + afterMs,
  isScheduled,
  isRunning,
});

const RECORDING: Recording = {
  requestedMs: REQUESTED_MS,
  answeredMs: REQUESTED_MS + 185,
  events: HISTORY,
  slaves: [seen(122, false, false), seen(130, true, false), seen(140, true, false), seen(290, true, true)],
};

describe('spansOf()', () => {
  test('tells what a mount waited for', () => {
    const lines = traceTable({ title: 'A mount', spans: spansOf(RECORDING) })
      .split('\n')
      .map((line) => line.replaceAll(/ {2,}/g, ' | '));
    expect(lines).toEqual([
      'A mount',
      ' | asked | waited | took | ended at, ms',
      'request | 0.0 | 185.0 | 185.0',
      'review and start | 0.0 | 12.6 | 12.6',
      'workflow task 1 | 12.7 | 5.9 | 116.8 | 135.3',
      'reserveDevices (local) | 103.1 | 19.0 | 122.1',
      'scheduler binds the slave | 122.0 | 8.0 | 130.0',
      'kubelet starts the slave | 130.0 | 160.0 | 290.0',
      'projectMount | 137.5 | 7.8 | 12.7 | 158.0',
      'attachDevices | 137.8 | 5.1 | 7.8 | 150.7',
      'workflow task 2 | 150.7 | 2.2 | 15.9 | 168.8',
      'workflow task 3 | 169.3 | 0.0 | 11.0 | 180.4',
      'projectMount | 180.4 | 3.2 | 7.5 | 191.1',
      'publish | 180.5 | 2.5 | 12.7 | 195.7',
      'answer on its way | 180.5 | 4.5 | 185.0',
      'workflow task 4 | 191.1 | 1.4 | 16.0 | 208.5',
      'workflow task 5 | 208.5 | 0.0 | 10.2 | 218.8',
    ]);
  });

  test('leaves out what begins long after the answer', () => {
    const early = spansOf({ ...RECORDING, answeredMs: REQUESTED_MS + 60 });
    expect(early.map(({ name }) => name)).not.toContain('workflow task 3');
    expect(early.map(({ name }) => name)).toContain('workflow task 2');
  });

  test('takes a local activity for what it took, however late in its task it began', () => {
    const local = spansOf(RECORDING).find(({ name }) => name === 'reserveDevices (local)');
    const task = spansOf(RECORDING).find(({ name }) => name === 'workflow task 1');
    expect(local?.toMs).toBeLessThan(task?.toMs ?? 0);
    expect(local?.fromMs).toBeGreaterThan(task?.fromMs ?? 0);
  });
});

test('isSettled() waits for the end of each step and task', () => {
  expect(isSettled(HISTORY)).toBe(true);
  // The last task has ended with the last event; before it, a step had.
  expect(isSettled(HISTORY.slice(0, -1))).toBe(false);
  expect(isSettled(HISTORY.slice(0, 32))).toBe(false);
});

test('seenSlave() is scheduled with a node, and running with all its containers', () => {
  expect(seenSlave({ spec: { containers: [] }, status: { phase: 'Pending' } }, 1)).toEqual(seenAt(1, false, false));
  const spec = { containers: [], nodeName: 'node-2' };
  expect(seenSlave({ spec, status: { phase: 'Pending' } }, 2)).toEqual(seenAt(2, true, false));
  expect(seenSlave({ spec, status: { phase: 'Running' } }, 3)).toEqual(seenAt(3, true, true));
});

const seenAt = (atMs: number, isScheduled: boolean, isRunning: boolean) => ({ atMs, isScheduled, isRunning });

describe('traceSvg()', () => {
  const spans = spansOf(RECORDING);
  const slow = spans.map(
    ({ askedMs, fromMs, toMs, ...span }): Span => ({
      ...span,
      ...(askedMs !== undefined && { askedMs: askedMs * 3 }),
      fromMs: fromMs * 3,
      toMs: toMs * 3,
    }),
  );
  const svg = traceSvg([
    { title: 'First & <slow>', spans: slow },
    { title: 'Later', spans },
  ]);
  const bars = [
    ...svg.matchAll(
      /<rect class="(request|task|step|cluster)( waits)?" x="([\d.]+)" y="\d+" width="([\d.]+)" height="12"/g,
    ),
  ];
  const [, width = '', height = ''] = /viewBox="0 0 (\d+) (\d+)"/.exec(svg) ?? [];

  test('draws each span and each wait, all within the picture and on one scale', () => {
    const waits = spans.filter(({ askedMs }) => askedMs !== undefined);
    const legend = 5;
    expect(bars).toHaveLength(legend + 2 * (spans.length + waits.length));
    expect(bars.length).toBeLessThan(60);
    for (const [, , , x, wide] of bars) expect(Number(x) + Number(wide)).toBeLessThan(Number(width));
    for (const [, y] of svg.matchAll(/ y="(\d+)"/g)) expect(Number(y)).toBeLessThan(Number(height));
    const [first, second] = bars
      .filter(([, kind], at) => at >= legend && kind === 'request')
      .flatMap(([, , , x, wide]) => (x === '190' ? [Number(wide)] : []))
      .toSorted((a, b) => b - a);
    expect((first ?? 0) / (second ?? 1)).toBeCloseTo(3, 1);
  });

  test('has colours for light and dark, and no markup in names', () => {
    expect(svg).toContain('prefers-color-scheme: dark');
    expect(svg).toContain('First &amp; &lt;slow>');
  });
});
