import { afterAll, describe } from '@jest/globals';
import type { KubeConfig } from '@kubernetes/client-node';
import { kubernetesCluster } from '../../activities/kubernetes.ts';
import { kubeConfigOf } from '../../process/kubernetes.ts';
import { testCluster } from '../workflows/cluster-table.ts';
import { testMounts } from '../workflows/mount-table.ts';
import { CLUSTER } from './cluster.ts';
import { NAMESPACE } from './lane.ts';
import { expectNoPods } from './targets.ts';

const CONTROL = 'system:serviceaccount:device-mounter:device-mounter-control';

afterAll(expectNoPods);

describe('kubernetesCluster()', () => {
  const cluster = kubernetesCluster(kubeConfigOf(CLUSTER.kubeconfig));
  testCluster(() => ({ cluster, namespace: NAMESPACE }));
});

/** Nobody else may write DeviceMounts. */
function configOfControl(): KubeConfig {
  const config = kubeConfigOf(CLUSTER.kubeconfig);
  config.users = config.users.map((user) => ({ ...user, impersonateUser: CONTROL }));
  return config;
}

describe('kubernetesCluster() by the rights of the control worker', () => {
  const cluster = kubernetesCluster(configOfControl());
  testMounts(() => ({ cluster, namespace: NAMESPACE }));
});
