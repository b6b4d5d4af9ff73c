import { expect } from '@jest/globals';
import type { Harness } from './harness.ts';
import { mountRequest, NAMESPACE, signed } from './requests.ts';

/** Has `count` mounts made at once on one node. */
export async function testBurst(harness: Harness, count: number): Promise<void> {
  const node = await harness.addNode('burst', count);
  const names = Array.from({ length: count }, (_, index) => `burst-${index}`);
  const mounts = await Promise.all(names.map((name) => harness.mount(signed(mountRequest('burst', { name })))));
  expect(mounts.map(({ status }) => status.phase)).toEqual(names.map(() => 'Mounted'));
  expect(node.attached.size).toBe(count);
  expect(harness.cluster.slaves(NAMESPACE).filter(({ spec }) => spec?.nodeName === 'burst')).toHaveLength(count);
}
