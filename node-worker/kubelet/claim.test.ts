import { describe, expect, test } from '@jest/globals';
import type { Allocation } from './checkpoint.ts';
import { claimOf } from './claim.ts';

function allocation(podUid: string, resource: string, ...deviceIds: readonly string[]): Allocation {
  return {
    podUid,
    container: 'slave',
    resource,
    deviceIds,
    devices: [],
    mounts: [],
    annotations: {},
    cdiDevices: [],
    envs: {},
  };
}

describe('claimOf()', () => {
  test('takes what the slaves have of the resources asked for, and nothing else', () => {
    const own = [allocation('s1', 'a/x', '1'), allocation('s2', 'a/x', '2'), allocation('s1', 'a/y', '9')];
    const all = [...own, allocation('s1', 'a/z', '5'), allocation('other', 'a/x', '3')];
    expect(claimOf(all, ['s1', 's2'], { 'a/x': '2', 'a/y': '1' })).toEqual({ state: 'complete', allocations: own });
  });

  test.each([
    ['nothing is allocated', [], 'missing', '1 of a/x must be allocated, 0 are'],
    ['another pod has it', [allocation('s2', 'a/x', '1')], 'missing', '1 of a/x must be allocated, 0 are'],
    ['more is allocated', [allocation('s1', 'a/x', '1', '2')], 'wrong', '1 of a/x were asked for, 2 are allocated'],
    [
      'the device is in two entries',
      [allocation('s1', 'a/x', '1'), allocation('dead', 'a/x', '1')],
      'wrong',
      'a device of a/x is also allocated to the pod dead',
    ],
  ])('refuses when %s', (_name, all, state, message) => {
    expect(claimOf(all, ['s1'], { 'a/x': '1' })).toEqual({ state, message });
  });

  test('does not mind the same id of another resource', () => {
    const all = [allocation('s1', 'a/x', '0'), allocation('s2', 'a/y', '0')];
    expect(claimOf(all, ['s1'], { 'a/x': '1' }).state).toBe('complete');
  });
});
