import { describe } from '@jest/globals';
import { testCluster } from '../workflows/cluster-table.ts';
import { MemoryCluster } from '../workflows/memory-cluster.ts';
import { testMounts } from '../workflows/mount-table.ts';

describe('MemoryCluster', () => {
  const cluster = new MemoryCluster();
  testCluster(() => ({ cluster, namespace: 'apps' }));
  testMounts(() => ({ cluster, namespace: 'apps' }));
});
