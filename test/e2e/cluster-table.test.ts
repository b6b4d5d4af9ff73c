import { afterAll, describe } from '@jest/globals';
import { kubernetesCluster } from '../../activities/kubernetes.ts';
import { kubeConfigOf } from '../../process/kubernetes.ts';
import { testCluster } from '../workflows/cluster-table.ts';
import { CLUSTER } from './cluster.ts';
import { NAMESPACE } from './lane.ts';
import { expectNoPods } from './targets.ts';

afterAll(expectNoPods);

describe('kubernetesCluster()', () => {
  const cluster = kubernetesCluster(kubeConfigOf(CLUSTER.kubeconfig));
  testCluster(() => ({ cluster, namespace: NAMESPACE }));
});
