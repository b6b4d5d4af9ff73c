import { expect, test } from '@jest/globals';
import { MemoryCluster } from '../test/workflows/memory-cluster.ts';
import { nodeState } from './node-state.ts';

const SECOND = 1_000;
const ago = (seconds: number): Date => new Date(Date.now() - seconds * SECOND);

/** The node worker renews its Lease by a clock that is behind, or has stopped. */
test.each<[string, (cluster: MemoryCluster) => void, string]>([
  ['renews its Lease', () => undefined, 'alive'],
  ['renews its Lease by a clock that is behind', (cluster) => cluster.setClock('n', -30), 'alive'],
  ['renews its Lease by a clock that is ahead', (cluster) => cluster.setClock('n', 30), 'alive'],
  ['has stopped a moment ago', (cluster) => cluster.lapse('n', ago(10)), 'unreachable'],
  ['has stopped long ago', (cluster) => cluster.lapse('n', ago(3_600)), 'unreachable'],
  ['has never renewed its Lease', (cluster) => cluster.lapse('n', null), 'unreachable'],
  ['is on a node that is gone', (cluster) => cluster.nodes.delete('n'), 'gone'],
])('nodeState() of a node worker that %s', async (_name, arrange, state) => {
  const cluster = new MemoryCluster();
  cluster.addNode('n', {});
  arrange(cluster);
  const deps = { cluster, namespace: 'device-mounter', now: () => new Date() };
  expect(await nodeState(deps, 'n', 20)).toBe(state);
});
