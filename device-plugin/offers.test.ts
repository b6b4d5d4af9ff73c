import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { RUNS } from '../test/property-runs.ts';
import type { Given } from './allocations.ts';
import type { HostDev } from './devs.ts';
import type { HostDevice } from './host-files.ts';
import { givenOf, type Offer, offersOf } from './offers.ts';

const rw = { permissions: 'rw', optional: false };
const PORTS: HostDev = { resource: 'a.example/x', count: 1, nodes: [{ path: '/dev/tty*', ...rw }] };

function device(name: string, ...numbers: readonly (string | undefined)[]): HostDevice {
  const nodes = numbers.flatMap((number, index) =>
    number === undefined
      ? []
      : [{ key: String(index), containerPath: name, hostPath: name, permissions: 'rw', number }],
  );
  return { name, nodes, problem: nodes.length === 0 ? `${name} is away` : undefined, numaNodes: [] };
}

const given = (one: HostDevice, ...ids: readonly string[]): ReadonlyMap<string, Given> =>
  new Map(ids.map((id) => [id, givenOf(one)]));

function textOf(offers: readonly Offer[]): readonly string[] {
  return offers.map(({ id, is }) => `${id}: ${is.problem ?? ('nodes' in is ? is.nodes[0]?.number : '')}`);
}

describe('offersOf()', () => {
  test('a device that nobody was given has the same id, whatever its number', () => {
    for (const number of ['c188:0', 'c188:1'])
      expect(textOf(offersOf(PORTS, [device('/dev/tty', number)], new Map()))).toEqual([`/dev/tty: ${number}`]);
  });

  test('another device in place of one that was given has another id, until the old one is back', () => {
    const [old, other] = [device('/dev/tty', 'c188:0'), device('/dev/tty', 'c188:1')];
    const before = given(old, '/dev/tty');
    expect(textOf(offersOf(PORTS, [other], before))).toEqual([
      '/dev/tty: /dev/tty is another device now',
      '/dev/tty@c188:1: c188:1',
    ]);
    expect(textOf(offersOf(PORTS, [old], before))).toEqual(['/dev/tty: c188:0']);
    const both = new Map([...before, ...given(other, '/dev/tty@c188:1')]);
    expect(textOf(offersOf(PORTS, [old], both))).toEqual(['/dev/tty: c188:0', '/dev/tty@c188:1: /dev/tty is gone']);
  });

  test('only copies that were given get another id', () => {
    const before = given(device('/dev/tty', 'c188:0'), '/dev/tty::1');
    expect(textOf(offersOf({ ...PORTS, count: 2 }, [device('/dev/tty', 'c188:1')], before))).toEqual([
      '/dev/tty: c188:1',
      '/dev/tty::1: /dev/tty is another device now',
      '/dev/tty@c188:1::1: c188:1',
    ]);
  });

  test('what was given and is unplugged is unhealthy, also where wildcards find nothing', () => {
    const before = given(device('/dev/tty', 'c188:0'), '/dev/tty');
    expect(textOf(offersOf(PORTS, [], before))).toEqual(['/dev/tty: /dev/tty is gone']);
  });

  test('what is no longer offered, but there, is not called gone', () => {
    const tty = device('/dev/tty', 'c188:0');
    expect(textOf(offersOf(PORTS, [tty], given(tty, '/dev/tty::1')))).toEqual(['/dev/tty: c188:0']);
    expect(textOf(offersOf(PORTS, [], given(device('/dev/sda', 'b8:0'), '/dev/sda')))).toEqual([]);
  });

  test('files of a group that are optional may come and go', () => {
    const before = given(device('/dev/tty', 'c1:1', undefined), '/dev/tty');
    expect(textOf(offersOf(PORTS, [device('/dev/tty', 'c1:1', 'c1:2')], before))).toEqual(['/dev/tty: c1:1']);
    expect(textOf(offersOf(PORTS, [device('/dev/tty', 'c1:3', 'c1:2')], before))).toHaveLength(2);
  });

  test('one id is one device, also where another one has a name like it', () => {
    const [first, second] = [device('/dev/tty', 'c188:1'), device('/dev/tty@c188:1', 'c188:2')];
    const before = given(device('/dev/tty', 'c188:0'), '/dev/tty');
    expect(textOf(offersOf(PORTS, [first, second], before))).toEqual([
      '/dev/tty: /dev/tty is another device now',
      '/dev/tty@c188:1: c188:1',
    ]);
  });

  test('lists the last 100 that are gone', () => {
    const before = new Map(
      Array.from({ length: 150 }, (_, index) => [`/dev/tty${index}`, givenOf(device(`/dev/tty${index}`, 'c1:1'))]),
    );
    const offers = offersOf(PORTS, [], before);
    expect([offers.length, offers[0]?.id]).toEqual([100, '/dev/tty50']);
  });

  const change = fc.oneof(
    fc.record({ plug: fc.nat(2), number: fc.nat(3) }),
    fc.record({ unplug: fc.nat(2) }),
    fc.record({ allocate: fc.nat(9) }),
    fc.record({ count: fc.integer({ min: 1, max: 3 }) }),
  );

  test('an id that was given never is healthy for another device, and what is there can be had', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 30 }), (changes) => {
        const numbers = new Map<number, string>();
        const remembered = new Map<string, Given>();
        let count = 1;
        for (const step of changes) {
          if ('plug' in step) numbers.set(step.plug, `c188:${step.number}`);
          if ('unplug' in step) numbers.delete(step.unplug);
          if ('count' in step) count = step.count;
          const devices = [...numbers].map(([port, number]) => device(`/dev/tty${port}`, number));
          const offers = offersOf({ ...PORTS, count }, devices, remembered);
          const healthy = offers.flatMap(({ id, is }) => ('nodes' in is ? [{ id, is }] : []));
          expect(new Set(offers.map(({ id }) => id)).size).toBe(offers.length);
          for (const one of devices) expect(healthy.filter(({ is }) => is === one)).toHaveLength(count);
          for (const { id, is } of healthy) expect(remembered.get(id) ?? givenOf(is)).toEqual(givenOf(is));
          const taken = 'allocate' in step ? healthy[step.allocate] : undefined;
          if (taken !== undefined) remembered.set(taken.id, givenOf(taken.is));
        }
      }),
      { numRuns: RUNS },
    );
  });
});
