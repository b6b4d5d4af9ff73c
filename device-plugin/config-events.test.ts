import { describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import type { EventSink } from '../process/events.ts';
import { ConfigEvents } from './config-events.ts';

/** Lets what has been sent arrive. */
const sent = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('ConfigEvents', () => {
  let refuse = false;
  const told: string[] = [];
  const sink: EventSink = {
    async warn(about, reason, message) {
      if (refuse) throw new Error('kube-apiserver is unreachable');
      told.push(`${about.kind} ${about.name}: ${reason}: ${message}`);
    },
  };

  test('tells of each fault once, and again once it was gone', async () => {
    const events = new ConfigEvents(sink, 'n1', pino({ enabled: false }));
    for (const fault of ['x', 'x', 'y', undefined, 'y']) {
      events.show(fault);
      await sent();
    }
    expect(told.splice(0)).toEqual(['x', 'y', 'y'].map((fault) => `Node n1: InvalidConfiguration: ${fault}`));
  });

  test('tells later what could not be told, and asks a kube-apiserver that is away every 5 s', async () => {
    const lines: string[] = [];
    const events = new ConfigEvents(sink, 'n1', pino({}, { write: (line: string) => lines.push(line) }));
    refuse = true;
    for (const now of [0, 5_000]) {
      events.show('x', now);
      await sent();
    }
    refuse = false;
    events.show('x', 9_999);
    await sent();
    expect([told, lines.length]).toEqual([[], 1]);
    events.show('x', 10_000);
    await sent();
    expect(told).toHaveLength(1);
  });
});
