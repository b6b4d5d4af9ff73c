import { describe, expect, test } from '@jest/globals';
import { type CgroupHost, planNodes } from './plan.ts';

const HYBRID: CgroupHost = { hybrid: true, v2Controllers: [''] };
const V2: CgroupHost = { hybrid: false, v2Controllers: ['cpuset', 'cpu', 'io', 'memory', 'hugetlb', 'pids'] };
const V2_WITHOUT_CONTROLLERS: CgroupHost = { hybrid: false, v2Controllers: [''] };

describe('planNodes()', () => {
  test('gives a hybrid host a v1 and a v2 node', () => {
    expect(planNodes(2, HYBRID)).toEqual([
      {
        name: 'node-1',
        cgroup: 1,
        cgroupRoot: '/sys/fs/cgroup',
        podsCgroup: '/',
        hasLimits: true,
        systemd: false,
        address: '10.97.0.11',
        podSubnet: '10.244.0.0/23',
      },
      {
        name: 'node-2',
        cgroup: 2,
        cgroupRoot: '/sys/fs/cgroup/unified',
        podsCgroup: '/',
        hasLimits: false,
        systemd: false,
        address: '10.97.0.12',
        podSubnet: '10.244.2.0/23',
      },
    ]);
  });

  test('gives a v2 host two v2 nodes that keep their pods apart', () => {
    const plans = planNodes(2, V2);
    expect(plans.map(({ cgroup, hasLimits }) => [cgroup, hasLimits])).toEqual([
      [2, true],
      [2, true],
    ]);
    expect(plans.map(({ podsCgroup }) => podsCgroup)).toEqual(['/node-1', '/node-2']);
  });

  test('does without limits where v2 has no controllers', () => {
    expect(planNodes(2, V2_WITHOUT_CONTROLLERS).map(({ hasLimits }) => hasLimits)).toEqual([false, false]);
  });

  test.each([HYBRID, V2])('runs node-3 under a systemd in a cgroup of its own', (host) => {
    const [, , third] = planNodes(3, host);
    expect(third).toMatchObject({ name: 'node-3', cgroup: 2, systemd: true, hasLimits: false });
    expect(third?.cgroupRoot.endsWith('/node-3')).toBe(true);
  });
});
