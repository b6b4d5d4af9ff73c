import { describe } from '@jest/globals';
import { testCluster } from '../workflows/cluster-table.ts';
import { MemoryCluster } from '../workflows/memory-cluster.ts';

describe('MemoryCluster', () => {
  const cluster = new MemoryCluster();
  testCluster(() => ({ cluster, namespace: 'apps' }));
});
