import { afterAll, beforeAll, describe } from '@jest/globals';
import { kubernetesCluster } from '../../activities/kubernetes.ts';
import { reconcileSchedule } from '../../contract/names.ts';
import { CLUSTER_NAME } from '../../deploy/local/addresses.ts';
import { kubeConfigOf } from '../../process/kubernetes.ts';
import { testCluster } from '../workflows/cluster-table.ts';
import { testMounts } from '../workflows/mount-table.ts';
import { CLUSTER } from './cluster.ts';
import { NAMESPACE } from './lane.ts';
import { expectNoPods } from './targets.ts';
import { Temporal } from './temporal.ts';
import { until } from './until.ts';

afterAll(expectNoPods);

describe('kubernetesCluster()', () => {
  const cluster = kubernetesCluster(kubeConfigOf(CLUSTER.kubeconfig));
  testCluster(() => ({ cluster, namespace: NAMESPACE }));
});

describe('kubernetesCluster() with the rights of the control worker', () => {
  const config = kubeConfigOf(CLUSTER.kubeconfig);
  const impersonateUser = 'system:serviceaccount:device-mounter:device-mounter-control';
  config.users = config.users.map((user) => ({ ...user, impersonateUser }));
  const cluster = kubernetesCluster(config);
  const temporal = new Temporal();
  const schedule = temporal.client.schedule.getHandle(reconcileSchedule(CLUSTER_NAME));
  // The reconciler would take objects without a workflow for those of mounts that are lost.
  beforeAll(async () => {
    await schedule.pause();
    await until('the reconciler to rest', async () => (await schedule.describe()).info.runningActions.length === 0);
  });
  afterAll(async () => {
    await schedule.unpause();
    await temporal.close();
  });
  testMounts(() => ({ cluster, namespace: NAMESPACE }));
});
