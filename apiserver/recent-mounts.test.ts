import { describe, expect, test } from '@jest/globals';
import { RecentMounts } from './recent-mounts.ts';

const names = (recent: RecentMounts, namespace: string | undefined, nowMs: number) =>
  recent.in(namespace, nowMs).map(({ name }) => name);

describe('RecentMounts', () => {
  test('in() knows what was noted, by namespace, for a few seconds', () => {
    const recent = new RecentMounts();
    recent.note({ namespace: 'a', name: 'x' }, 0);
    recent.note({ namespace: 'b', name: 'y' }, 3_000);
    expect([names(recent, undefined, 4_000), names(recent, 'b', 4_000)]).toEqual([['x', 'y'], ['y']]);
    recent.note({ namespace: 'a', name: 'x' }, 4_000);
    expect(names(recent, undefined, 8_500)).toEqual(['x']);
    expect(names(recent, undefined, 10_000)).toEqual([]);
  });

  test('note() forgets the oldest of too many', () => {
    const recent = new RecentMounts();
    for (let index = 0; index < 100; index += 1) recent.note({ namespace: 'a', name: String(index) }, 0);
    expect(names(recent, 'a', 0)).toEqual(Array.from({ length: 64 }, (_, index) => String(index + 36)));
  });
});
