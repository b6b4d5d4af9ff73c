import type { KubeConfig } from '@kubernetes/client-node';
import { kubernetesCluster } from '../../activities/kubernetes.ts';
import type { DeviceMount } from '../../contract/device-mount.ts';
import { objectOf } from '../../contract/device-mount-object.ts';
import { CLUSTER_NAME } from '../../deploy/local/addresses.ts';
import { kubeConfigOf } from '../../process/kubernetes.ts';
import { CLUSTER, NODES } from '../e2e/cluster.ts';
import { PRODUCT_NAMESPACE, podsOf } from '../e2e/daemon-sets.ts';
import { ask } from '../e2e/kube.ts';
import { kubectlOk } from '../e2e/kubectl.ts';
import { deletePod, podPath, startPod } from '../e2e/pods.ts';
import { until } from '../e2e/until.ts';
import { atMost, type Figure, measured, p50, timed } from './figure.ts';
import { mountOf } from './many-mounts.ts';

const MOUNTS = 10_000;
const AT_ONCE = 10;
const ROUNDS = 5;
const CONTROL = 'device-mounter-control';
const SCALE = `/apis/apps/v1/namespaces/${PRODUCT_NAMESPACE}/deployments/${CONTROL}/scale`;

/**
 * How long kubectl takes to list many mounts, with pages of 500, as it asks for by itself, and with all in one answer. The control workers, which
 * would look for the owners of these mounts, are away meanwhile. Needs a cluster, see `npm start`.
 */
export async function benchList(): Promise<readonly Figure[]> {
  const pod = await startPod(NODES[0]?.name ?? '');
  const { spec } = await ask<{ readonly spec: { readonly replicas: number } }>('GET', SCALE);
  try {
    await scaleControl(0);
    await showMany(pod);
    const [paged, whole] = [await listTimes(), await listTimes('--chunk-size=0')];
    return [
      measured(`list.${MOUNTS}-mounts.pages`, p50(paged), 'ms'),
      atMost(`list.${MOUNTS}-mounts.at-once`, p50(whole), 'ms', 1_000),
    ];
  } finally {
    // Their objects go with it.
    await deletePod(pod);
    await until('the mounts to be gone', async () => (await namesOfMounts()) === '', 300_000, 1_000);
    await scaleControl(spec.replicas);
    CLUSTER.api.close();
  }
}

async function scaleControl(replicas: number): Promise<void> {
  await ask('PATCH', SCALE, { spec: { replicas } });
  await until(`${replicas} of ${CONTROL}`, async () => (await podsOf(CONTROL)).length === replicas, 120_000);
}

/** Writes as the control worker does. */
async function showMany(pod: string): Promise<void> {
  const { metadata } = await ask<{ readonly metadata: { readonly uid: string } }>('GET', podPath(pod));
  const cluster = kubernetesCluster(await configOfControl());
  const about = { cluster: CLUSTER_NAME, at: new Date().toISOString() };
  const show = async (index: number): Promise<void> => {
    const all = mountOf(index);
    const mount: DeviceMount = {
      ...all,
      metadata: { ...all.metadata, namespace: 'default' },
      spec: { ...all.spec, podName: pod, podUid: metadata.uid },
    };
    const made = await cluster.createMount(objectOf(mount, about));
    const wanted = objectOf(mount, { ...about, before: made });
    const replaced = await cluster.replaceMount({ ...made, metadata: { ...made.metadata, ...wanted.metadata } });
    await cluster.replaceMountStatus({ ...replaced, ...(wanted.status !== undefined && { status: wanted.status }) });
  };
  const inTurn = async (first: number): Promise<void> => {
    for (let index = first; index < MOUNTS; index += AT_ONCE) await show(index);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, (_, first) => inTurn(first)));
}

/** As the control worker: the policy on DeviceMounts lets nobody else write them. */
async function configOfControl(): Promise<KubeConfig> {
  const path = `/api/v1/namespaces/${PRODUCT_NAMESPACE}/serviceaccounts/${CONTROL}/token`;
  const { status } = await ask<{ readonly status: { readonly token: string } }>('POST', path, { spec: {} });
  const config = kubeConfigOf(CLUSTER.kubeconfig);
  const { clusters, contexts, users, currentContext } = config;
  const others = users.map(({ name }) => ({ name, token: status.token }));
  config.loadFromOptions({ clusters, contexts, users: others, currentContext });
  return config;
}

async function listTimes(...more: readonly string[]): Promise<readonly number[]> {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++)
    times.push(await timed(() => kubectlOk(['get', 'devicemounts', '--all-namespaces', ...more])));
  return times;
}

const namesOfMounts = (): Promise<string> => kubectlOk(['get', 'devicemounts', '--all-namespaces', '-o', 'name']);
